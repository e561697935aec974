/* Films are sent from the list: chosen or dropped, two at a time, each with its progress. */
(function () {
  'use strict';
  var AT_A_TIME = 2;
  var box = document.getElementById('upload');
  var list = document.getElementById('sent');
  var chooser = document.getElementById('choose');
  if (!box || !window.XMLHttpRequest || !window.FileReader) { return; }
  var findings = JSON.parse(box.getAttribute('data-findings'));
  var reasons = JSON.parse(box.getAttribute('data-reasons'));
  var problems = JSON.parse(box.getAttribute('data-problems'));
  var outcomes = JSON.parse(box.getAttribute('data-outcomes'));
  var waiting = [];
  var nSending = 0;
  var nDone = 0;
  var nAsked = 0;
  var depth = 0;

  function says(name) { return box.getAttribute('data-says-' + name); }

  function make(tag, className, text) {
    var element = document.createElement(tag);
    if (className) { element.className = className; }
    if (text) { element.textContent = text; }
    return element;
  }

  function Film(file) {
    var self = this;
    this.file = file;
    this.item = make('li');
    this.name = make('span', 'sent-name', file.name);
    this.state = make('span', 'sent-state', says('waits'));
    this.progress = make('progress');
    this.progress.max = 1;
    this.progress.value = 0;
    this.progress.setAttribute('aria-label', file.name);
    this.item.appendChild(this.name);
    this.item.appendChild(this.progress);
    this.item.appendChild(this.state);
    list.appendChild(this.item);
    this.again = function () {
      self.item.className = '';
      self.item.removeChild(self.item.lastChild);
      self.progress.hidden = false;
      self.progress.value = 0;
      self.state.textContent = says('waits');
      waiting.push(self);
      next();
    };
  }

  Film.prototype.send = function () {
    var self = this;
    var request = new XMLHttpRequest();
    request.open('POST', '/v1/predict');
    request.setRequestHeader('Accept', 'application/json');
    request.setRequestHeader('Content-Type', 'application/octet-stream');
    request.setRequestHeader('Content-Disposition',
      "attachment; filename*=UTF-8''" + encodeURIComponent(this.file.name).replace(/'/g, '%27'));
    request.upload.onprogress = function (event) {
      if (event.lengthComputable) {
        self.progress.value = event.loaded / event.total;
        self.state.textContent = says(event.loaded < event.total ? 'sent' : 'read');
      }
    };
    request.onload = function () {
      if (request.status === 503 && request.getResponseHeader('Retry-After')) {
        self.later(Number(request.getResponseHeader('Retry-After')) || 5);
        return;
      }
      var said;
      try { said = JSON.parse(request.responseText); } catch (error) { said = {}; }
      if (request.status === 200 && said.films && said.films.length) {
        self.done(said.films[0]);
      } else {
        self.failed(problems[said.code] || said.detail || said.title || says('network'));
      }
    };
    request.onerror = function () { self.failed(says('network')); };
    this.state.textContent = says('sent');
    request.send(this.file);
  };

  Film.prototype.later = function (seconds) {
    var self = this;
    this.state.textContent = says('busy');
    this.progress.removeAttribute('value');
    nSending -= 1;
    setTimeout(function () { waiting.unshift(self); next(); }, 1000 * seconds);
    next();
  };

  Film.prototype.done = function (film) {
    var link = make('a', 'button', says('open'));
    var first = film.all_findings && film.all_findings[0];
    var outcome = film.answer || film.status;
    var said = outcomes[outcome] || outcome;
    this.item.className = 'ended ' + outcome;
    this.progress.hidden = true;
    if (first) {
      said += ': ' + (findings[first.finding] || first.finding) + ', ' + says('score') + ' ' +
        Math.round(100 * first.probability);
      if (film.accepted.length) {
        said += '; ' + says('accepted').replace('{codes}', film.accepted.join(', '));
      }
    } else {
      said += ': ' + (reasons[film.reason.split(':')[0]] || film.reason);
    }
    this.state.textContent = said;
    link.href = film.page;
    link.setAttribute('aria-label', says('open') + ': ' + this.file.name);
    this.item.appendChild(link);
    if (nAsked === 1) {
      link.className = 'button strong';
      link.focus();
    }
    this.ended();
  };

  Film.prototype.failed = function (why) {
    var button = make('button', '', says('again'));
    button.type = 'button';
    button.setAttribute('aria-label', says('again') + ': ' + this.file.name);
    button.addEventListener('click', this.again);
    this.item.className = 'ended wrong';
    this.progress.hidden = true;
    this.state.textContent = why;
    this.item.appendChild(button);
    this.ended();
  };

  Film.prototype.ended = function () {
    var announced = document.getElementById('uploaded');
    nSending -= 1;
    nDone += 1;
    if (!waiting.length && !nSending && announced) {
      announced.textContent = says('done') + ' ' + nDone;
    }
    if (window.cxrEdgeLook) { window.cxrEdgeLook(); }
    next();
  };

  function next() {
    while (waiting.length && nSending < AT_A_TIME) {
      nSending += 1;
      waiting.shift().send();
    }
  }

  function take(files) {
    if (!files || !files.length) { return; }
    if (!waiting.length && !nSending) {
      list.textContent = '';
      nDone = 0;
      nAsked = 0;
    }
    nAsked += files.length;
    Array.prototype.forEach.call(files, function (file) { waiting.push(new Film(file)); });
    box.scrollIntoView(false);
    next();
  }

  chooser.addEventListener('change', function () {
    take(chooser.files);
    chooser.value = '';
  });

  function hasFiles(event) {
    var types = event.dataTransfer && event.dataTransfer.types;
    return !!types && Array.prototype.indexOf.call(types, 'Files') >= 0;
  }
  document.addEventListener('dragenter', function (event) {
    if (!hasFiles(event)) { return; }
    depth += 1;
    document.body.className += document.body.className.indexOf('dropping') < 0 ? ' dropping' : '';
  });
  document.addEventListener('dragleave', function () {
    depth -= 1;
    if (depth <= 0) { stopped(); }
  });
  document.addEventListener('dragover', function (event) {
    if (hasFiles(event)) { event.preventDefault(); }
  });
  document.addEventListener('drop', function (event) {
    if (!hasFiles(event)) { return; }
    event.preventDefault();
    stopped();
    take(event.dataTransfer.files);
  });
  function stopped() {
    depth = 0;
    document.body.className = document.body.className.replace(' dropping', '');
  }
}());
