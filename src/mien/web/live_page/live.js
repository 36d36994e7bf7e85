// Camera to the server, pictures back: see live_stream.py for what is said on the way.
"use strict";

const FRAME = 1, LONGEST = 640, RETRY = 2000;
const at = (id) => document.getElementById(`live-${id}`);
const result = at("result"), camera = at("camera"), canvas = document.createElement("canvas");
const state = {
  wanted: false, socket: null, stream: null, opening: false, number: 0, busy: false, sent: new Map(), lastSent: 0,
  rate: 0, latencies: [], dropped: 0, cameraTrouble: "", linkTrouble: "", serverTrouble: "", said: "", saidKind: "", saidUntil: 0,
  greeted: false,
};

// -- what the user reads ---------------------------------------------------------------------------------------------

function show() {
  const now = performance.now();
  const said = now < state.saidUntil ? state.said : "";
  const trouble = state.linkTrouble || state.cameraTrouble || (!said && state.serverTrouble);
  const line = at("status");
  if (trouble || said) {
    line.textContent = trouble || said;
    line.className = trouble || state.saidKind === "error" ? "error" : "busy";
  } else if (state.wanted) {
    line.textContent = state.latencies.length ? "Live: the portrait follows you." : "Starting…";
    line.className = "busy";
  } else {
    line.textContent = state.greeted ? "Press Start and allow the camera." : "Connecting…";
    line.className = "";
  }
  at("start").textContent = state.wanted ? "Stop" : "Start";
  at("calibrate").disabled = !state.latencies.length;
  const latency = mean(state.latencies);
  at("rate").textContent = state.wanted ? state.rate.toFixed(1) : "–";
  const behind = state.rate > 0 ? ` (${(latency / 1000 * state.rate).toFixed(1)} pictures)` : "";
  at("latency").textContent = state.wanted && latency ? `${Math.round(latency)} ms${behind}` : "–";
  at("dropped").textContent = state.dropped;
}

function mean(values) {
  return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : 0;
}

function say(sentence, seconds, kind = "error") {
  state.said = sentence;
  state.saidKind = kind;
  state.saidUntil = performance.now() + seconds * 1000;
  show();
}

// -- the server ------------------------------------------------------------------------------------------------------

function connect() {
  const address = new URL("stream", document.baseURI);
  address.protocol = address.protocol.replace("http", "ws");
  const socket = new WebSocket(address);
  socket.binaryType = "arraybuffer";
  state.socket = socket;
  state.number = 0;
  state.sent.clear();
  socket.onmessage = (event) => (typeof event.data === "string" ? hear(JSON.parse(event.data)) : draw(event.data));
  socket.onclose = (event) => {
    state.greeted = false;
    state.latencies = [];
    if (event.code < 4000) state.linkTrouble = "The connection to mien was lost; this goes on as soon as it is back.";
    show();
    setTimeout(connect, RETRY);
  };
}

function hear(message) {
  if (message.type === "hello") {
    state.linkTrouble = "";
    if (!state.greeted && !at("sliders").childElementCount) build(message);
    state.greeted = true;
    if (at("sliders").dataset.touched) control();
  } else if (message.type === "state") {
    state.rate = message.rate;
    state.dropped = message.dropped;
    state.serverTrouble = state.wanted ? message.sentence : "";
  } else if (message.type === "sentence") {
    if (state.greeted) say(message.sentence, 6);
    else state.linkTrouble = message.sentence;
  }
  show();
}

async function draw(data) {
  const number = new DataView(data).getUint32(0);
  const picture = await createImageBitmap(new Blob([data.slice(4)], { type: "image/jpeg" }));
  if (result.width !== picture.width || result.height !== picture.height) {
    result.width = picture.width;
    result.height = picture.height;
    fit();
  }
  result.getContext("2d").drawImage(picture, 0, 0);
  picture.close();
  result.dataset.number = number;
  const taken = state.sent.get(number);
  if (taken === undefined) return;
  state.latencies.push(performance.now() - taken);
  if (state.latencies.length > 20) state.latencies.shift();
  for (const key of state.sent.keys()) if (key <= number) state.sent.delete(key);
}

function tell(message) {
  if (state.socket.readyState === WebSocket.OPEN) state.socket.send(JSON.stringify(message));
}

// -- the camera ------------------------------------------------------------------------------------------------------

const REASONS = {
  NotAllowedError: "The browser may not use the camera: allow it beside the address.",
  NotFoundError: "No camera was found: plug one in, and this goes on.",
  OverconstrainedError: "The chosen camera is not there: choose another, or plug it in.",
  NotReadableError: "The camera cannot be opened: another program may have it. This goes on when it is free.",
};

async function openCamera() {
  if (!state.wanted || state.stream || state.opening) return;
  if (!navigator.mediaDevices) {
    state.cameraTrouble = "Browsers give the camera to https pages and to this machine's own (localhost) only.";
    return show();
  }
  state.opening = true;
  try {
    const chosen = at("cameras").value;
    const video = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } };
    if (chosen) video.deviceId = { exact: chosen };
    const stream = await navigator.mediaDevices.getUserMedia({ video, audio: false });
    if (!state.wanted) return stream.getTracks().forEach((track) => track.stop());
    state.stream = stream;
    state.cameraTrouble = "";
    const track = stream.getVideoTracks()[0];
    track.onended = () => lose("The camera is gone: was it unplugged? This goes on as soon as it is back.");
    track.onmute = () => { state.cameraTrouble = "The camera sends no picture just now."; show(); };
    track.onunmute = () => { state.cameraTrouble = ""; show(); };
    camera.srcObject = stream;
    await camera.play();
    await listCameras();
  } catch (error) {
    lose(REASONS[error.name] || `The camera cannot be opened (${error.name}).`);
  } finally {
    state.opening = false;
    show();
  }
}

function lose(sentence) {
  closeCamera();
  if (!state.wanted) return;
  state.cameraTrouble = sentence;
  show();
  setTimeout(openCamera, RETRY);
}

function closeCamera() {
  if (state.stream) state.stream.getTracks().forEach((track) => { track.onended = null; track.stop(); });
  state.stream = null;
  camera.srcObject = null;
}

async function listCameras() {
  const menu = at("cameras"), chosen = menu.value;
  const cameras = (await navigator.mediaDevices.enumerateDevices()).filter((device) => device.kind === "videoinput");
  menu.replaceChildren(new Option("the first", ""), ...cameras.map((one) => new Option(one.label || "camera", one.deviceId)));
  menu.value = cameras.some((one) => one.deviceId === chosen) ? chosen : "";
}

// A frame goes out at most twice for each picture that comes back, and none while the line is full: what is worked on
// is always fresh, and a slow machine is not kept busy with frames that it will leave out.
function send() {
  const now = performance.now(), socket = state.socket;
  const pause = state.rate > 0 ? Math.min(500, Math.max(33, 500 / state.rate)) : 100;
  if (!state.greeted || !state.stream || state.busy || camera.readyState < 2 || now - state.lastSent < pause - 2) return;
  if (socket.readyState !== WebSocket.OPEN || socket.bufferedAmount > 0 || !camera.videoWidth) return;
  state.busy = true;
  state.lastSent = now;
  const zoom = Math.min(1, LONGEST / Math.max(camera.videoWidth, camera.videoHeight));
  canvas.width = Math.round(camera.videoWidth * zoom);
  canvas.height = Math.round(camera.videoHeight * zoom);
  canvas.getContext("2d").drawImage(camera, 0, 0, canvas.width, canvas.height);
  canvas.toBlob(async (blob) => {
    state.busy = false;
    if (!blob || socket.readyState !== WebSocket.OPEN) return;
    const number = ++state.number, head = new DataView(new ArrayBuffer(5));
    head.setUint8(0, FRAME);
    head.setUint32(1, number);
    state.sent.set(number, now);
    socket.send(await new Blob([head, blob]).arrayBuffer());
  }, "image/jpeg", 0.85);
}

// -- what the user sets ----------------------------------------------------------------------------------------------

function build(hello) {
  at("mirror").checked = hello.mirror;
  camera.classList.toggle("mirrored", hello.mirror);
  for (const [index, name] of hello.examples.entries()) {
    const image = Object.assign(new Image(), { src: `example/${name}`, alt: `Portrait ${index + 1}`, title: name });
    image.onclick = () => choose(`portrait?example=${name}`, null, image);
    image.onkeydown = (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      image.click();
    };
    image.tabIndex = 0;
    image.setAttribute("role", "button");
    mark(image, name === hello.portrait);
    at("portraits").append(image);
  }
  for (const group of hello.sliders) {
    const box = document.createElement("fieldset"), title = document.createElement("legend");
    title.textContent = group.title;
    box.append(title, ...group.sliders.map(slider));
    at("sliders").append(box);
  }
  fit();
}

function mark(image, chosen) {
  image.className = chosen ? "chosen" : "";
  image.setAttribute("aria-pressed", chosen);
}

function slider(about) {
  const label = document.createElement("label"), input = document.createElement("input");
  const output = document.createElement("output"), words = document.createElement("span");
  words.textContent = about.label;
  Object.assign(input, { type: "range", min: about.least, max: about.most, step: about.step, value: about.value });
  Object.assign(input, { name: about.name, id: `live-${about.name}` });
  input.dataset.rest = about.rest;
  output.textContent = input.value;
  input.oninput = () => { output.textContent = input.value; control(); };
  label.append(words, input, output);
  return label;
}

function control() {
  const values = {};
  for (const input of at("sliders").querySelectorAll("input")) values[input.name] = Number(input.value);
  at("sliders").dataset.touched = "yes";
  tell({ type: "control", values, mirror: at("mirror").checked });
}

async function choose(address, body, image) {
  say("Reading the portrait…", 60, "busy");
  try {
    const answer = await (await fetch(address, { method: "POST", body })).json();
    if (answer.sentence) return say(answer.sentence, 8);
    say("The portrait was changed.", 1.5, "busy");
    for (const one of at("portraits").querySelectorAll("img")) mark(one, one === image);
  } catch (error) {
    say(`The portrait could not be sent (${error.message}).`, 8);
  }
}

function fit() { // in the web UI's tab the frame is made as high as what it shows
  if (window.frameElement) window.frameElement.style.height = `${document.documentElement.scrollHeight + 10}px`;
}

at("start").onclick = () => {
  state.wanted = !state.wanted;
  state.cameraTrouble = state.serverTrouble = "";
  state.latencies = [];
  if (state.wanted) openCamera();
  else closeCamera();
  camera.classList.toggle("off", !state.wanted);
  show();
};
at("calibrate").onclick = () => {
  tell({ type: "calibrate" });
  say("Calibrated: motion counts from how you looked just now.", 3, "busy");
};
at("portrait").onchange = () => {
  const file = at("portrait").files[0];
  if (file) choose(`portrait?name=${encodeURIComponent(file.name)}`, file, null);
  at("portrait").value = "";
};
at("mirror").onchange = () => {
  camera.classList.toggle("mirrored", at("mirror").checked);
  control();
};
at("cameras").onchange = () => { closeCamera(); openCamera(); };
at("reset").onclick = () => {
  for (const input of at("sliders").querySelectorAll("input")) {
    input.value = input.dataset.rest;
    input.nextElementSibling.textContent = input.value;
  }
  control();
};
if (navigator.mediaDevices) navigator.mediaDevices.ondevicechange = () => { listCameras(); openCamera(); };

// browsers slow the clocks of hidden pages down, but not those of workers: a call in another window must go on
const ticks = new Worker(URL.createObjectURL(new Blob(["setInterval(() => postMessage(0), 16)"])));
ticks.onmessage = send;
setInterval(show, 250);
camera.classList.add("off");
connect();
show();
