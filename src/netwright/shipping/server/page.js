"use strict";
const $ = id => document.getElementById(id);
const SHOWN_AT_MOST = 12;

// What is asked and answered: one request at a time, and behind it the newest of those that came meanwhile.
let busy = false, next = null, spoken = 0;

async function ask(body, type) {
  if (busy) { next = [body, type]; return; }
  busy = true;
  try {
    const headers = type ? { "Content-Type": type } : {};
    const response = await fetch("/predict", { method: "POST", headers, body });
    const answer = await response.json();
    if (next === null) response.ok ? show(answer.predictions[0]) : refuse(answer.detail);
  } catch {
    refuse("The server does not answer. Is it still running?");
  }
  busy = false;
  if (next !== null) { const [newer, as] = next; next = null; ask(newer, as); }
}

const askJson = input => ask(JSON.stringify({ inputs: [input] }), "application/json");
const askFile = file => { const form = new FormData(); form.append("files", file); ask(form, null); };

function later(action, milliseconds) {
  let timer = 0;
  return () => { clearTimeout(timer); timer = setTimeout(action, milliseconds); };
}

// Screen readers are told the label once it has stayed for a moment; eyes see it at once.
function say(text, refused) {
  const said = $("said");
  said.setAttribute("aria-busy", "true");
  said.textContent = text;
  said.classList.toggle("refused", refused);
  clearTimeout(spoken);
  spoken = setTimeout(() => said.setAttribute("aria-busy", "false"), 400);
}

function refuse(why) {
  say(why, true);
  $("bars").replaceChildren(); $("forecast").replaceChildren(); $("remarks").replaceChildren();
  $("strange").hidden = true;
}

function show(record) {
  $("strange").hidden = record.unlike_training !== true;
  const remarks = (record.remarks || []).map(text => element("li", "", text));
  $("remarks").replaceChildren(...remarks);
  if (record.probabilities) {
    say(`${record.label}`, false);
    bars(record.probabilities, record.label);
  } else if (record.columns) {
    say(`The next ${record.value.length} rows`, false);
    forecast(record);
  } else {
    say([record.value].flat().map(number).join(", "), false);
  }
}

function element(name, kind, text) {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  if (text !== undefined) made.textContent = text;
  return made;
}

const number = value => Math.abs(value) >= 1e6 || (value !== 0 && Math.abs(value) < 1e-3) ? value.toExponential(4) : String(+value.toPrecision(6));
const percent = share => `${(100 * share).toFixed(1)} %`;

function bars(probabilities, label) {
  let rows = SETTINGS.classes.map(name => [name, probabilities[name]]);
  if (rows.length > SHOWN_AT_MOST) rows = rows.sort((a, b) => b[1] - a[1]).slice(0, SHOWN_AT_MOST);
  const list = $("bars");
  while (list.children.length < rows.length) {
    const row = element("li"), track = element("span", "track");
    track.append(element("i"));
    row.append(element("span", "name"), track, element("span", "share"));
    list.append(row);
  }
  while (list.children.length > rows.length) list.lastChild.remove();
  rows.forEach(([name, share], place) => {
    const row = list.children[place], [named, track, shared] = row.children;
    row.classList.toggle("taken", name === label);
    named.textContent = named.title = name;
    track.firstChild.style.width = `${100 * share}%`;
    shared.textContent = percent(share);
  });
}

function forecast(record) {
  const rows = record.value.map(row => [row].flat()), times = record.times || rows.map((_, place) => place + 1);
  const curve = document.createElementNS("http://www.w3.org/2000/svg", "svg"), first = rows.map(row => row[0]);
  const low = Math.min(...first), span = Math.max(...first) - low || 1;
  curve.setAttribute("class", "curve");
  curve.setAttribute("viewBox", `0 0 ${Math.max(1, rows.length - 1)} 100`);
  curve.setAttribute("preserveAspectRatio", "none");
  curve.setAttribute("role", "img");
  curve.setAttribute("aria-label", `${record.columns[0]} in the next ${rows.length} rows, from ${number(low)} to ${number(low + span)}`);
  const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  line.setAttribute("points", first.map((value, place) => `${place},${96 - 92 * (value - low) / span}`).join(" "));
  curve.append(line);
  const table = element("table"), head = element("tr");
  head.append(element("th", "", record.times ? "time" : "row"), ...record.columns.map(name => element("th", "", name)));
  table.append(head, ...rows.map((row, place) => {
    const line = element("tr");
    line.append(element("td", "", times[place]), ...row.map(value => element("td", "number", number(value))));
    return line;
  }));
  $("forecast").replaceChildren(element("p", "note", record.columns[0]), curve, table);
}

// Files: chosen, or dropped.

function takeFiles(take) {
  const drop = $("drop"), input = $("file");
  input.addEventListener("change", () => { if (input.files.length) take(input.files[0]); input.value = ""; });
  for (const name of ["dragenter", "dragover"]) drop.addEventListener(name, event => { event.preventDefault(); drop.classList.add("over"); });
  for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("over"));
  drop.addEventListener("drop", event => { event.preventDefault(); if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]); });
}

// Drawing.

function startDrawing() {
  const board = $("board"), pen = board.getContext("2d", { willReadFrequently: true }), side = board.width;
  const { height, width, highest, ink, paper, fitted, middle } = SETTINGS;
  const grey = value => `rgb(${Array(3).fill(Math.round(255 * value / highest)).join(" ")})`;
  const cursor = { x: side / 2, y: side / 2, down: false, shown: false };
  const strokes = [];
  let last = null;

  function paint() {
    pen.fillStyle = grey(paper);
    pen.fillRect(0, 0, side, side);
    pen.strokeStyle = grey(ink); pen.lineWidth = side / 12; pen.lineCap = pen.lineJoin = "round";
    for (const stroke of strokes) {
      pen.beginPath();
      pen.moveTo(...stroke[0]);
      for (const point of stroke.length > 1 ? stroke.slice(1) : stroke) pen.lineTo(...point);
      pen.stroke();
    }
  }

  // The ink (0..1) of a picture of height x width, each pixel the mean of what lies under it.
  function pixels() {
    const fine = 8, small = document.createElement("canvas");
    small.width = width * fine; small.height = height * fine;
    const draw = small.getContext("2d", { willReadFrequently: true });
    draw.fillStyle = "#000"; draw.fillRect(0, 0, small.width, small.height);
    draw.filter = ink < paper ? "invert(1)" : "none";
    const { scale, x, y } = placed();
    const zoom = Math.min(small.width, small.height) / side;
    draw.translate(small.width / 2, small.height / 2);
    draw.scale(scale * zoom, scale * zoom);
    draw.drawImage(board, -x, -y);
    const seen = draw.getImageData(0, 0, small.width, small.height).data, found = [];
    for (let row = 0; row < height; row++) {
      found.push([]);
      for (let column = 0; column < width; column++) {
        let sum = 0;
        for (let at = 0; at < fine * fine; at++)
          sum += seen[4 * ((row * fine + (at / fine | 0)) * small.width + column * fine + at % fine)];
        found[row].push(sum / (255 * fine * fine));
      }
    }
    return found;
  }

  // How large the drawing is to be, and which of its points comes to the middle.
  function placed() {
    const whole = { scale: 1, x: side / 2, y: side / 2 };
    if (!fitted) return whole;
    const seen = pen.getImageData(0, 0, side, side).data, dark = ink < paper;
    let left = side, right = -1, top = side, bottom = -1, mass = 0, x = 0, y = 0;
    for (let row = 0; row < side; row++) for (let column = 0; column < side; column++) {
      const value = dark ? 255 - seen[4 * (row * side + column)] : seen[4 * (row * side + column)];
      if (value < 40) continue;
      left = Math.min(left, column); right = Math.max(right, column + 1);
      top = Math.min(top, row); bottom = Math.max(bottom, row + 1);
      mass += value; x += value * (column + .5); y += value * (row + .5);
    }
    if (right < 0) return whole;
    const scale = fitted * side / Math.max(right - left, bottom - top);
    return middle === "mass" ? { scale, x: x / mass, y: y / mass } : { scale, x: (left + right) / 2, y: (top + bottom) / 2 };
  }

  const eye = $("seen").getContext("2d");

  function send() {
    if (!strokes.length) return;
    const values = pixels().map(row => row.map(share => Math.round(paper + (ink - paper) * share)));
    const picture = eye.createImageData(width, height);
    values.flat().forEach((value, at) => picture.data.set([...Array(3).fill(255 * value / highest), 255], 4 * at));
    eye.putImageData(picture, 0, 0);
    askJson([values]);
  }

  let asked = false;
  function changed() {
    paint(); mark();
    if (asked) return;
    asked = true;
    setTimeout(() => { asked = false; paint(); send(); mark(); }, 60);
  }

  function mark() {
    if (!cursor.shown) return;
    pen.lineWidth = 2; pen.strokeStyle = cursor.down ? "#f08030" : "#6aa8ff";
    pen.beginPath(); pen.arc(cursor.x, cursor.y, side / 24, 0, 7); pen.stroke();
  }

  function clear() {
    strokes.length = 0; last = null; cursor.down = false; next = null;
    eye.fillStyle = grey(paper); eye.fillRect(0, 0, width, height);
    paint(); mark();
    say("", false); $("bars").replaceChildren(); $("strange").hidden = true; $("remarks").replaceChildren();
  }

  const at = event => {
    const box = board.getBoundingClientRect();
    return [(event.clientX - box.left) * side / box.width, (event.clientY - box.top) * side / box.height];
  };
  board.addEventListener("pointerdown", event => {
    event.preventDefault(); board.focus({ preventScroll: true });
    cursor.shown = false;
    board.setPointerCapture(event.pointerId);
    last = [at(event)]; strokes.push(last); changed();
  });
  board.addEventListener("pointermove", event => {
    if (!last || !board.hasPointerCapture(event.pointerId)) return;
    for (const one of event.getCoalescedEvents?.().length ? event.getCoalescedEvents() : [event]) last.push(at(one));
    changed();
  });
  for (const name of ["pointerup", "pointercancel"]) board.addEventListener(name, () => { if (!cursor.down) last = null; });

  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  board.addEventListener("keydown", event => {
    const step = side / (event.shiftKey ? 56 : 28);
    if (event.key === "Escape") return clear();
    if (event.key !== " " && !moves[event.key]) return;
    event.preventDefault();
    cursor.shown = true;
    if (event.key === " ") {
      cursor.down = !cursor.down;
      if (cursor.down) { last = [[cursor.x, cursor.y]]; strokes.push(last); }
      else last = null;
    } else {
      const [x, y] = moves[event.key];
      cursor.x = Math.max(0, Math.min(side, cursor.x + x * step));
      cursor.y = Math.max(0, Math.min(side, cursor.y + y * step));
      if (cursor.down) last.push([cursor.x, cursor.y]);
    }
    if (strokes.length) changed(); else { paint(); mark(); }
  });
  board.addEventListener("focus", () => { if (board.matches(":focus-visible")) { cursor.shown = true; mark(); } });
  board.addEventListener("blur", () => { cursor.shown = cursor.down = false; last = null; paint(); });
  $("clear").addEventListener("click", () => { clear(); });
  clear();
  $("said").innerHTML = '<span class="muted">Draw, and it follows.</span>';
  if (SETTINGS.files) takeFiles(askFile);
}

function startPicture() {
  takeFiles(file => {
    const shown = $("shown");
    if (shown.src) URL.revokeObjectURL(shown.src);
    shown.src = URL.createObjectURL(file); shown.alt = file.name; shown.hidden = false;
    shown.onerror = () => { shown.hidden = true; };
    askFile(file);
  });
}

// Recording: what the browser records is decoded by it, and sent as WAV.

function startSound() {
  const heard = $("heard"), button = $("record");
  const take = file => {
    if (heard.src) URL.revokeObjectURL(heard.src);
    heard.src = URL.createObjectURL(file); heard.hidden = false;
    askFile(file);
  };
  takeFiles(take);
  let recorder = null;
  if (!navigator.mediaDevices?.getUserMedia || !window.MediaRecorder) { button.hidden = true; return; }
  button.addEventListener("click", async () => {
    if (recorder) { recorder.stop(); return; }
    let stream;
    try { stream = await navigator.mediaDevices.getUserMedia({ audio: true }); }
    catch { refuse("No microphone, or it is not allowed."); return; }
    const pieces = [];
    recorder = new MediaRecorder(stream);
    recorder.ondataavailable = event => pieces.push(event.data);
    recorder.onstop = async () => {
      stream.getTracks().forEach(track => track.stop());
      recorder = null; button.setAttribute("aria-pressed", "false"); button.textContent = "Record";
      const context = new AudioContext();
      try { take(wav(await context.decodeAudioData(await new Blob(pieces).arrayBuffer()))); }
      catch { refuse("The browser recorded nothing."); }
      context.close();
    };
    recorder.start();
    button.setAttribute("aria-pressed", "true"); button.textContent = "Stop";
  });
}

function wav(sound) {
  const samples = sound.getChannelData(0), bytes = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const word = (at, text) => [...text].forEach((sign, place) => bytes.setUint8(at + place, sign.charCodeAt(0)));
  word(0, "RIFF"); bytes.setUint32(4, 36 + 2 * samples.length, true); word(8, "WAVEfmt ");
  bytes.setUint32(16, 16, true); bytes.setUint16(20, 1, true); bytes.setUint16(22, 1, true);
  bytes.setUint32(24, sound.sampleRate, true); bytes.setUint32(28, 2 * sound.sampleRate, true);
  bytes.setUint16(32, 2, true); bytes.setUint16(34, 16, true);
  word(36, "data"); bytes.setUint32(40, 2 * samples.length, true);
  samples.forEach((value, at) => bytes.setInt16(44 + 2 * at, 32767 * Math.max(-1, Math.min(1, value)), true));
  return new File([bytes], "recording.wav", { type: "audio/wav" });
}

function startText() {
  const text = $("text");
  text.addEventListener("input", later(() => { if (text.value.trim()) askJson(text.value); }, 120));
}

function startRow() {
  const fields = [...document.querySelectorAll("[data-name]")];
  const cell = field => {
    if (field.value === "") return null;
    if (SETTINGS.booleans.includes(field.dataset.name)) return field.value === "true";
    return "number" in field.dataset ? Number(field.value) : field.value;
  };
  const send = () => {
    const wrong = fields.find(field => field.validity.badInput);
    if (wrong) { refuse(`${wrong.dataset.name}: no number`); return; }
    askJson(Object.fromEntries(fields.map(field => [field.dataset.name, cell(field)])));
  };
  $("form").addEventListener("input", later(send, 80));
  $("form").addEventListener("submit", event => { event.preventDefault(); send(); });
  send();
}

function startSeries() {
  const rows = $("rows");
  // Under the names of the columns alone it is rows of numbers; with a time or a group it is a table.
  const send = () => {
    const [head, ...lines] = rows.value.trim().split(/\r?\n/).map(line => line.split(",").map(cell => cell.trim()));
    if (head.join() !== SETTINGS.columns.join()) { ask(rows.value, "text/csv"); return; }
    const values = lines.map(line => line.map(cell => cell === "" ? null : Number(cell)));
    const wrong = values.findIndex(row => row.some(Number.isNaN));
    if (wrong >= 0) { refuse(`no number in row ${wrong + 1}: ${lines[wrong].join(",")}`); return; }
    askJson(values);
  };
  rows.addEventListener("input", later(send, 250));
  send();
}

function startNumbers() {
  const field = $("numbers");
  const send = () => {
    const words = field.value.split(/[\s,;]+/).filter(Boolean), values = words.map(Number), wrong = values.findIndex(Number.isNaN);
    if (wrong >= 0) { refuse(`no number: ${words[wrong]}`); return; }
    askJson(values);
  };
  field.addEventListener("input", later(send, 120));
  send();
}

({ draw: startDrawing, picture: startPicture, sound: startSound, text: startText, row: startRow, series: startSeries, numbers: startNumbers })[SETTINGS.kind]();
