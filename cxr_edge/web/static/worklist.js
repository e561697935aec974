/* The list stays up to date, and changes without a new page. No patient's name is put into an
   address or kept: only what the other fields hold stands in the address. */
(function () {
  'use strict';
  var EVERY_MS = 3000;
  var live = document.getElementById('live');
  var form = document.getElementById('filter');
  var box = document.getElementById('films');
  var showNew = document.getElementById('show-new');
  var trouble = document.getElementById('trouble');
  var announced = document.getElementById('announced');
  if (!live || !form || !window.DOMParser) { return; }
  var last = Number(live.getAttribute('data-last'));
  var timer = null;
  var asking = null;
  var typed = null;

  function says(name) { return live.getAttribute('data-says-' + name); }

  function fieldsOf(going) {
    var parts = [];
    Array.prototype.forEach.call(form.elements, function (field) {
      if (field.name && field.type !== 'submit' && field.name !== 'dialect') {
        parts.push(encodeURIComponent(field.name) + '=' + encodeURIComponent(field.value));
      }
    });
    if (going) { parts.push('go=' + going); }
    return parts.join('&');
  }

  // Pictures that are there already are not asked for again.
  function swap(fresh) {
    var active = document.activeElement;
    var focused = box.contains(active) ? active.getAttribute('href') || active.value : null;
    var pictures = {};
    Array.prototype.forEach.call(box.querySelectorAll('img'), function (picture) {
      pictures[picture.getAttribute('src')] = picture;
    });
    Array.prototype.forEach.call(fresh.querySelectorAll('img'), function (picture) {
      var known = pictures[picture.getAttribute('src')];
      if (known) { picture.parentNode.replaceChild(known, picture); }
    });
    fresh = document.importNode ? document.adoptNode(fresh) : fresh;
    box.parentNode.replaceChild(fresh, box);
    box = fresh;
    watchPictures();
    if (focused) {
      Array.prototype.some.call(box.querySelectorAll('a, button'), function (one) {
        var same = (one.getAttribute('href') || one.value) === focused;
        if (same) { one.focus(); }
        return same;
      });
    }
  }

  function load(going, then) {
    if (asking) { asking.abort(); }
    var request = asking = new XMLHttpRequest();
    request.open('POST', '/');
    request.setRequestHeader('Content-Type', 'application/x-www-form-urlencoded');
    request.onload = function () {
      asking = null;
      if (request.status !== 200) { return; }
      var page = new DOMParser().parseFromString(request.responseText, 'text/html');
      var fresh = page.getElementById('films');
      var facts = page.getElementById('live');
      if (!fresh || !facts) {
        location.reload();  // somebody has to log in first
        return;
      }
      last = Number(facts.getAttribute('data-last'));
      swap(fresh);
      showNew.hidden = true;
      if (then) { then(); }
    };
    request.onerror = function () { asking = null; };
    request.send(fieldsOf(going));
  }

  // The way back from a film leads to the same page of the list.
  function remember() {
    if (!history.replaceState) { return; }
    var parts = [];
    ['order', 'finding', 'status', 'verdict', 'since', 'until'].forEach(function (name) {
      var value = form.elements[name].value;
      if (value && value !== 'newest') { parts.push(name + '=' + encodeURIComponent(value)); }
    });
    var cursor = box.querySelector('[name=cursor]');
    var trail = box.querySelector('[name=trail]');
    var place = cursor && cursor.value && !form.elements.text.value
      ? { cursor: cursor.value, trail: trail.value } : null;
    history.replaceState(place, '', parts.length ? '/?' + parts.join('&') : '/');
  }

  function onFirstPage() { return box.getAttribute('data-page') === '1'; }

  function isFilling() {
    var active = document.activeElement;
    return !!active && form.contains(active) && active.tagName === 'INPUT';
  }

  function heard(facts) {
    var waits = live.querySelector('[data-waiting]');
    waits.hidden = !facts.waiting;
    waits.querySelector('b').textContent = facts.waiting;
    live.className = 'live on';
    live.querySelector('[data-on]').hidden = false;
    trouble.hidden = !facts.trouble;
    if (trouble.textContent !== facts.trouble) { trouble.textContent = facts.trouble; }
    if (facts.last === last) { return; }
    if (!onFirstPage()) {
      showNew.hidden = false;
    } else if (!isFilling() && !asking) {
      load('', function () { announced.textContent = says('new'); });
    }
  }

  function look() {
    clearTimeout(timer);
    if (document.hidden) { return; }
    var request = new XMLHttpRequest();
    request.open('GET', '/live');
    request.timeout = 10000;
    request.onload = function () {
      if (request.status === 401) { location.reload(); return; }
      if (request.status === 200) { heard(JSON.parse(request.responseText)); } else { cut(); }
      again();
    };
    request.onerror = request.ontimeout = function () { cut(); again(); };
    request.send();
  }
  function cut() {
    live.className = 'live';
    live.querySelector('[data-on]').hidden = true;
    trouble.hidden = false;
    trouble.textContent = says('cut');
  }
  function again() {
    clearTimeout(timer);
    timer = setTimeout(look, EVERY_MS);
  }
  window.cxrEdgeLook = look;

  document.addEventListener('visibilitychange', look);
  showNew.addEventListener('click', function () {
    load('', function () { remember(); box.scrollIntoView(); });
  });

  form.addEventListener('change', function (event) {
    if (event.target.name !== 'text') { load('', remember); }
  });
  form.addEventListener('input', function (event) {
    if (event.target.name !== 'text') { return; }
    clearTimeout(typed);
    typed = setTimeout(function () { load('', remember); }, 350);
  });
  form.addEventListener('submit', function (event) {
    var button = event.submitter;
    if (!button || button.getAttribute('formaction')) { return; }
    event.preventDefault();
    var going = button.name === 'go' ? button.value : '';
    load(going, function () {
      remember();
      if (going) { box.scrollIntoView(); }
    });
  });

  // A film that has no picture any more leaves an empty frame, not a broken one.
  function watchPictures() {
    Array.prototype.forEach.call(box.querySelectorAll('img'), function (picture) {
      function none() { picture.parentNode.className = 'frame none'; }
      picture.onerror = none;
      if (picture.complete && !picture.naturalWidth) { none(); }
    });
  }
  watchPictures();

  // On a phone the form would take the screen.
  var fold = document.getElementById('fold');
  fold.addEventListener('click', function () {
    var opens = form.className.indexOf(' open') < 0;
    form.className = opens ? 'filter folds open' : 'filter folds';
    fold.setAttribute('aria-expanded', String(opens));
  });
  fold.setAttribute('aria-expanded', String(form.className.indexOf('folds') < 0));

  if (window.history && history.state && history.state.cursor && onFirstPage()) {
    var place = history.state;
    ['cursor', 'trail'].forEach(function (name) {
      var field = box.querySelector('[name=' + name + ']');
      if (field) { field.value = place[name]; }
    });
    load('stay');
  }
  again();
}());
