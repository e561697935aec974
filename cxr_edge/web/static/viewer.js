/* Looks at films: zoom, pan, window and level, and the heatmap over it. Each viewer draws the film
   and its layer on one canvas, so that they can never lie apart. */
(function () {
  'use strict';
  var MAX_ZOOM = 24;
  var STEP = 1.25;
  var isLittle = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

  function each(list, work) { Array.prototype.forEach.call(list, work); }
  function within(value, low, high) { return Math.min(high, Math.max(low, value)); }

  function Viewer(root) {
    this.root = root;
    this.canvas = root.querySelector('canvas');
    this.word = root.querySelector('[data-word]');
    this.corner = root.querySelector('[data-corner]');
    this.number = root.getAttribute('data-film');
    this.still = root.hasAttribute('data-still');
    this.film = null;      // a canvas of the film's own size, windowed
    this.facts = null;
    this.pixels = null;
    this.heat = null;
    this.heats = {};
    this.opacity = 0.6;
    this.heatOn = root.hasAttribute('data-heatmap');
    this.inverted = false;
    this.tool = 'move';
    this.zoom = 1;
    this.x = 0;            // of the film's middle from the screen's, in CSS pixels
    this.y = 0;
    this.dirty = false;
    this.problems = JSON.parse(root.getAttribute('data-problems') || '{}');
    if (!this.still) { this.listen(); }
    if (!root.hasAttribute('data-waits')) { this.load(); }
  }

  Viewer.prototype.says = function (name) { return this.root.getAttribute('data-says-' + name); };

  Viewer.prototype.tell = function (text) {
    this.word.textContent = text;
    this.word.hidden = !text;
  };

  /* ------------------------------------------------------------ what is looked at */

  function ask(address, kind, done, failed) {
    var request = new XMLHttpRequest();
    request.open('GET', address);
    request.responseType = kind;
    request.onload = function () {
      if (request.status === 200) { done(request); } else { reasonOf(request.response, failed); }
    };
    request.onerror = function () { failed(null); };
    request.send();
  }

  function reasonOf(body, told) {
    if (!body) { told({}); return; }
    var reader = new FileReader();
    reader.onload = function () {
      var said;
      try { said = JSON.parse(reader.result); } catch (error) { said = {}; }
      told(said);
    };
    reader.readAsText(body instanceof Blob ? body : new Blob([body]));
  }

  Viewer.prototype.because = function (said, otherwise) {
    if (!said) { return this.says('network'); }
    return this.problems[said.code] || [said.detail, said.next_step].join(' ').trim() ||
      this.says(otherwise);
  };

  Viewer.prototype.load = function () {
    var self = this;
    this.tell(this.says('loading'));
    ask('/films/' + this.number + '/pixels', 'arraybuffer', function (request) {
      self.tell('');
      self.take(request);
      if (self.heatOn) { self.loadHeat(); }
    }, function (said) {
      self.root.className += ' no-film';
      self.tell(self.because(said, 'no-film'));
    });
  };

  Viewer.prototype.take = function (request) {
    function number(name) { return Number(request.getResponseHeader('X-' + name)); }
    var facts = {
      width: number('Width'), height: number('Height'), bits: number('Bits'),
      low: number('Low'), high: number('High'), white: number('White'),
      slope: number('Slope') || 1, intercept: number('Intercept') || 0
    };
    // A film's own window may reach beyond its pixels.
    facts.least = Math.min(0, facts.low);
    facts.most = Math.max(facts.white, facts.high);
    facts.widest = facts.most - facts.least;
    var data = request.response;
    var pixels;
    if (facts.bits === 8) {
      pixels = new Uint8Array(data);
    } else if (isLittle) {
      pixels = new Uint16Array(data);
    } else {
      var view = new DataView(data);
      pixels = new Uint16Array(data.byteLength / 2);
      for (var i = 0; i < pixels.length; i += 1) { pixels[i] = view.getUint16(2 * i, true); }
    }
    if (pixels.length < facts.width * facts.height) {
      this.tell(this.says('no-film'));
      return;
    }
    this.facts = facts;
    this.pixels = pixels;
    this.film = document.createElement('canvas');
    this.film.width = facts.width;
    this.film.height = facts.height;
    this.drawing = this.film.getContext('2d');
    this.image = this.drawing.createImageData(facts.width, facts.height);
    this.words32 = new Uint32Array(this.image.data.buffer);
    this.resetWindow();
    if (!this.still) {
      each(['centre', 'width'], function (name) {
        var slider = this.root.querySelector('[data-slide=' + name + ']');
        slider.min = name === 'width' ? 1 : facts.least;
        slider.max = name === 'width' ? facts.widest : facts.most;
        slider.step = facts.white > 1000 ? Math.round(facts.white / 1000) : 1;
      }.bind(this));
    }
    this.changed(true);
  };

  Viewer.prototype.loadHeat = function () {
    var self = this;
    var field = this.root.querySelector('[data-heat=finding]');
    var finding = field ? field.value : '';
    if (this.heats[finding]) {
      this.heat = this.heats[finding];
      this.changed();
      return;
    }
    this.heat = null;
    ask('/v1/heatmaps/' + this.number + '?finding=' + encodeURIComponent(finding), 'blob',
      function (request) {
        var address = URL.createObjectURL(request.response);
        var layer = new Image();
        layer.onload = function () {
          URL.revokeObjectURL(address);
          self.heats[finding] = layer;
          self.heat = layer;
          self.root.setAttribute('data-heat-shown', finding);
          self.changed();
        };
        layer.src = address;
      }, function (said) {
        self.tell(self.because(said, 'no-heatmap'));
      });
    this.changed();
  };

  /* ------------------------------------------------------------ drawing */

  Viewer.prototype.resetWindow = function () {
    this.centre = (this.facts.low + this.facts.high) / 2;
    this.width = Math.max(1, this.facts.high - this.facts.low);
    this.inverted = false;
  };

  Viewer.prototype.changed = function (window_) {
    var self = this;
    this.dirtyWindow = this.dirtyWindow || !!window_;
    if (this.dirty || !this.film) { return; }
    this.dirty = true;
    window.requestAnimationFrame(function () {
      self.dirty = false;
      if (self.dirtyWindow) {
        self.dirtyWindow = false;
        self.applyWindow();
      }
      self.draw();
    });
  };

  Viewer.prototype.applyWindow = function () {
    var n = this.facts.white + 1;
    var table = new Uint32Array(n);
    var low = this.centre - this.width / 2;
    var scale = 255 / this.width;
    for (var value = 0; value < n; value += 1) {
      var grey = within(Math.round((value - low) * scale), 0, 255);
      if (this.inverted) { grey = 255 - grey; }
      table[value] = isLittle
        ? (255 << 24) | (grey << 16) | (grey << 8) | grey
        : (grey << 24) | (grey << 16) | (grey << 8) | 255;
    }
    var pixels = this.pixels;
    var words = this.words32;
    for (var i = 0, end = words.length; i < end; i += 1) { words[i] = table[pixels[i]]; }
    this.drawing.putImageData(this.image, 0, 0);
  };

  Viewer.prototype.draw = function () {
    var ratio = this.still ? 1 : window.devicePixelRatio || 1;
    var wide;
    var high;
    if (this.still) {
      wide = Math.min(1400, this.facts.width);
      high = Math.round(wide * this.facts.height / this.facts.width);
    } else {
      wide = this.canvas.clientWidth;
      high = this.canvas.clientHeight;
    }
    if (!wide || !high) { return; }
    if (this.canvas.width !== Math.round(wide * ratio) ||
        this.canvas.height !== Math.round(high * ratio)) {
      this.canvas.width = Math.round(wide * ratio);
      this.canvas.height = Math.round(high * ratio);
    }
    var context = this.canvas.getContext('2d');
    var scale = this.scale();
    var w = this.facts.width * scale;
    var h = this.facts.height * scale;
    var left = (wide - w) / 2 + this.x;
    var top = (high - h) / 2 + this.y;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = '#000';
    context.fillRect(0, 0, wide, high);
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = 'high';
    context.drawImage(this.film, left, top, w, h);
    if (this.heat && this.heatOn) {
      context.globalAlpha = this.opacity;
      context.drawImage(this.heat, left, top, w, h);
      context.globalAlpha = 1;
    }
    this.root.setAttribute('data-drawn', '1');
    if (!this.still) { this.show(); }
  };

  Viewer.prototype.fit = function () {
    if (this.still) { return Math.min(1400, this.facts.width) / this.facts.width; }
    return Math.min(this.canvas.clientWidth / this.facts.width,
      this.canvas.clientHeight / this.facts.height);
  };
  Viewer.prototype.scale = function () { return this.fit() * this.zoom; };

  Viewer.prototype.real = function (value, isWidth) {
    var slope = this.facts.slope;
    var real = isWidth ? value * Math.abs(slope) : value * slope + this.facts.intercept;
    return Math.abs(real) >= 100 ? Math.round(real) : Math.round(real * 100) / 100;
  };

  Viewer.prototype.show = function () {
    var root = this.root;
    function put(name, text) {
      each(root.querySelectorAll('[data-shows=' + name + ']'), function (one) {
        one.textContent = text;
      });
    }
    function slide(name, value) {
      var slider = root.querySelector('[data-slide=' + name + ']');
      if (document.activeElement !== slider) { slider.value = value; }
    }
    function press(name, on) {
      root.querySelector('[data-do=' + name + ']').setAttribute('aria-pressed', String(on));
    }
    put('centre', this.real(this.centre));
    put('width', this.real(this.width, true));
    put('opacity', Math.round(this.opacity * 100) + ' %');
    slide('centre', this.centre);
    slide('width', this.width);
    press('move', this.tool === 'move');
    press('window', this.tool === 'window');
    press('invert', this.inverted);
    var box = root.querySelector('[data-heat=on]');
    if (box) { box.checked = this.heatOn; }
    this.corner.textContent = this.says('zoom') + ' ' + Math.round(100 * this.scale()) + ' %';
    // Upright, a finger moves the page; once the film is larger, it moves the film.
    this.canvas.className = this.tool === 'window' || this.zoom > 1.01 ? 'held' : '';
  };

  /* ------------------------------------------------------------ doing */

  Viewer.prototype.zoomTo = function (zoom, at) {
    zoom = within(zoom, 0.5, MAX_ZOOM);
    var factor = zoom / this.zoom;
    var x = at ? at.x - this.canvas.clientWidth / 2 : 0;
    var y = at ? at.y - this.canvas.clientHeight / 2 : 0;
    this.x = x - (x - this.x) * factor;
    this.y = y - (y - this.y) * factor;
    this.zoom = zoom;
    this.keepInView();
    this.changed();
  };

  Viewer.prototype.pan = function (dx, dy) {
    this.x += dx;
    this.y += dy;
    this.keepInView();
    this.changed();
  };

  Viewer.prototype.keepInView = function () {
    if (!this.facts) { return; }
    var scale = this.scale();
    var wide = (this.facts.width * scale + this.canvas.clientWidth) / 2 - 40;
    var high = (this.facts.height * scale + this.canvas.clientHeight) / 2 - 40;
    this.x = within(this.x, -wide, wide);
    this.y = within(this.y, -high, high);
  };

  Viewer.prototype.setWindow = function (centre, width) {
    this.centre = within(centre, this.facts.least, this.facts.most);
    this.width = within(width, 1, this.facts.widest);
    this.changed(true);
  };

  Viewer.prototype.dragWindow = function (dx, dy) {
    // A finer hand where the window is narrow.
    var per = Math.max(this.width, this.facts.white / 100) / 300;
    this.setWindow(this.centre + dy * per, this.width + dx * per);
  };

  Viewer.prototype.act = function (what) {
    if (!this.film) { return; }
    if (what === 'in') { this.zoomTo(this.zoom * STEP); }
    if (what === 'out') { this.zoomTo(this.zoom / STEP); }
    if (what === 'fit' || what === 'reset') { this.zoom = 1; this.x = this.y = 0; }
    if (what === 'reset') { this.resetWindow(); }
    if (what === 'move' || what === 'window') { this.tool = what; }
    if (what === 'invert') { this.inverted = !this.inverted; }
    this.changed(what === 'invert' || what === 'reset');
  };

  Viewer.prototype.showHeat = function (on) {
    if (!this.root.hasAttribute('data-heatmap')) { return; }
    this.heatOn = on;
    if (on && !this.heat) { this.loadHeat(); }
    this.changed();
  };

  Viewer.prototype.key = function (event) {
    var field = event.target.tagName;
    if (event.ctrlKey || event.metaKey || event.altKey || !this.film) { return; }
    var far = event.shiftKey ? 160 : 40;
    var moves = { ArrowLeft: [far, 0], ArrowRight: [-far, 0], ArrowUp: [0, far], ArrowDown: [0, -far] };
    var key = event.key;
    var used = true;
    if (field === 'SELECT' || (field === 'INPUT' && key.indexOf('Arrow') === 0)) { return; }
    if (moves[key] && event.target === this.canvas) {
      if (this.tool === 'window') {
        this.dragWindow(-moves[key][0] / 4, -moves[key][1] / 4);
      } else {
        this.pan(moves[key][0], moves[key][1]);
      }
    } else if (key === '+' || key === '=') { this.act('in');
    } else if (key === '-') { this.act('out');
    } else if (key === '0') { this.act('fit');
    } else if (key === 'h' || key === 'H') { this.showHeat(!this.heatOn);
    } else if (key === 'i' || key === 'I') { this.act('invert');
    } else if (key === 'w' || key === 'W') { this.act(this.tool === 'move' ? 'window' : 'move');
    } else { used = false; }
    if (used) { event.preventDefault(); }
  };

  Viewer.prototype.listen = function () {
    var self = this;
    var canvas = this.canvas;
    var fingers = {};

    function place(event) {
      var box = canvas.getBoundingClientRect();
      return { x: event.clientX - box.left, y: event.clientY - box.top };
    }
    function held() { return Object.keys(fingers).map(function (id) { return fingers[id]; }); }

    this.root.addEventListener('keydown', function (event) { self.key(event); });
    this.root.addEventListener('click', function (event) {
      var what = event.target.getAttribute && event.target.getAttribute('data-do');
      if (what) { self.act(what); }
    });
    this.root.addEventListener('input', function (event) {
      var slides = event.target.getAttribute('data-slide');
      var heats = event.target.getAttribute('data-heat');
      if (!self.film) { return; }
      if (slides === 'centre') { self.setWindow(Number(event.target.value), self.width); }
      if (slides === 'width') { self.setWindow(self.centre, Number(event.target.value)); }
      if (heats === 'opacity') { self.opacity = event.target.value / 100; self.changed(); }
    });
    this.root.addEventListener('change', function (event) {
      var heats = event.target.getAttribute('data-heat');
      if (heats === 'on') { self.showHeat(event.target.checked); }
      if (heats === 'finding') { self.heatOn = true; self.loadHeat(); }
    });
    canvas.addEventListener('wheel', function (event) {
      if (!self.film) { return; }
      event.preventDefault();
      self.zoomTo(self.zoom * Math.pow(STEP, event.deltaY < 0 ? 1 : -1), place(event));
    }, { passive: false });
    canvas.addEventListener('contextmenu', function (event) { event.preventDefault(); });
    canvas.addEventListener('dblclick', function () { self.act('reset'); });

    canvas.addEventListener('pointerdown', function (event) {
      if (!self.film) { return; }
      fingers[event.pointerId] = place(event);
      fingers[event.pointerId].windows = event.button === 2 ||
        (event.button === 0 && self.tool === 'window');
      if (canvas.setPointerCapture) { canvas.setPointerCapture(event.pointerId); }
      canvas.focus();
    });
    canvas.addEventListener('pointermove', function (event) {
      var before = fingers[event.pointerId];
      if (!before) { return; }
      var now = place(event);
      var all = held();
      now.windows = before.windows;
      if (all.length === 2) {
        var other = all[0] === before ? all[1] : all[0];
        var was = Math.hypot(before.x - other.x, before.y - other.y);
        var is = Math.hypot(now.x - other.x, now.y - other.y);
        self.pan((now.x - before.x) / 2, (now.y - before.y) / 2);
        if (was > 0) {
          self.zoomTo(self.zoom * is / was, { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 });
        }
      } else if (before.windows) {
        self.dragWindow(now.x - before.x, now.y - before.y);
      } else {
        self.pan(now.x - before.x, now.y - before.y);
      }
      fingers[event.pointerId] = now;
    });
    each(['pointerup', 'pointercancel'], function (name) {
      canvas.addEventListener(name, function (event) { delete fingers[event.pointerId]; });
    });
    window.addEventListener('resize', function () { self.changed(); });
    if (window.ResizeObserver) {
      new ResizeObserver(function () { self.changed(); }).observe(canvas);
    }
  };

  var viewers = [];
  each(document.querySelectorAll('[data-viewer]'), function (root) {
    viewers.push(new Viewer(root));
  });

  /* The last earlier film of the patient: beside it where there is room, and on demand. */
  var beside = document.getElementById('beside');
  var button = document.getElementById('show-beside');
  if (beside && button) {
    var room = document.getElementById('viewers');
    var isLoaded = false;
    var showBeside = function (on) {
      beside.hidden = !on;
      room.className = on ? 'viewers two' : 'viewers';
      button.setAttribute('aria-pressed', String(on));
      if (on && !isLoaded) {
        isLoaded = true;
        viewers[viewers.length - 1].load();
      }
      viewers.forEach(function (one) { one.changed(); });
    };
    button.hidden = false;
    button.addEventListener('click', function () { showBeside(beside.hidden); });
    if (window.innerWidth >= 1200) { showBeside(true); }
  }
}());
