/* What every page has: selects that act at once, and printing. In old JavaScript, for old browsers. */
(function () {
  'use strict';
  document.documentElement.className += ' scripted';

  document.addEventListener('change', function (event) {
    if (event.target.hasAttribute('data-submits') && event.target.form) {
      event.target.form.submit();
    }
  });

  Array.prototype.forEach.call(document.querySelectorAll('[data-print]'), function (button) {
    button.hidden = false;
    button.addEventListener('click', function () { window.print(); });
  });

  // From a film back to the list as it was left, where that is where the person came from.
  var back = document.querySelector('[data-back]');
  if (back) {
    back.addEventListener('click', function (event) {
      var from = document.createElement('a');
      from.href = document.referrer;
      if (document.referrer && from.host === location.host && from.pathname === '/') {
        event.preventDefault();
        history.back();
      }
    });
  }
}());
