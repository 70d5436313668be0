// A phone in a browser: JsSIP in headless Chromium, steered over the DevTools pipe. One line of JSON for each thing that happens.
//
//   node drive.cjs FOLDER WSS-URL OUR-URI PASSWORD CALLEE
//
// It registers, calls, says how the call went and how much sound it hears, and ends when its standard input does.
'use strict';
const fs = require('node:fs');
const path = require('node:path');
const { spawn } = require('node:child_process');

const [folder, url, uri, password, callee] = process.argv.slice(2);
const say = (event, more) => console.log(JSON.stringify({ event, ...more }));

// All modules that JsSIP needs, as one script: each is a function, `require` looks it up.
function bundle(entry) {
  const modules = new Map();
  const add = (file) => {
    if (modules.has(file)) return;
    const source = file.endsWith('.json')
      ? `module.exports = ${fs.readFileSync(file, 'utf8')}`
      : fs.readFileSync(file, 'utf8');
    const needs = {};
    modules.set(file, { source, needs });
    if (file.endsWith('.json')) return;
    for (const [, name] of source.matchAll(/require\(['"]([^'"]+)['"]\)/g)) {
      let found;
      try {
        // A browser takes the browser's half of a package.
        found = name === 'debug' ? require.resolve('debug/src/browser.js') : require.resolve(name + (name === 'events' ? '/' : ''), { paths: [path.dirname(file)] });
      } catch {
        continue;
      }
      needs[name] = found;
      add(found);
    }
  };
  add(require.resolve(entry));
  const parts = [...modules].map(
    ([file, { source, needs }]) =>
      `${JSON.stringify(file)}: [function (require, module, exports) {${source}\n}, ${JSON.stringify(needs)}]`,
  );
  return `var JsSIP = (function () {
    var all = {${parts.join(',\n')}}, done = {};
    function load(file) {
      if (done[file]) return done[file].exports;
      var module = (done[file] = { exports: {} });
      all[file][0](function (name) { return load(all[file][1][name]); }, module, module.exports);
      return module.exports;
    }
    return load(${JSON.stringify(require.resolve(entry))});
  })();`;
}

// What runs in the page; `report` is a binding of ours.
function phone({ url, uri, password, callee }) {
  const tell = (event, more) => {
    document.body.append(Object.assign(document.createElement('p'), { textContent: `${event} ${JSON.stringify(more ?? {})}` }));
    window.report(JSON.stringify({ event, ...more }));
  };
  document.body.innerHTML = '<h1>Phone in a browser</h1>';
  const sockets = [new JsSIP.WebSocketInterface(url)];
  const ua = new JsSIP.UA({ sockets, uri, password, register: true, session_timers: false });
  let session;
  ua.on('connected', () => tell('connected'));
  ua.on('disconnected', (e) => tell('disconnected', { reason: e.reason }));
  ua.on('registrationFailed', (e) => tell('registration failed', { cause: e.cause, status: e.response?.status_code }));
  ua.on('registered', () => {
    if (session) return;
    tell('registered');
    session = ua.call(callee, { mediaConstraints: { audio: true, video: false }, pcConfig: { iceServers: [] } });
    session.on('progress', (e) => tell('progress', { status: e.response?.status_code }));
    session.on('failed', (e) =>
      tell('failed', { cause: e.cause, status: e.message?.status_code, warning: e.message?.getHeader?.('Warning') }));
    session.on('peerconnection:setremotedescriptionfailed', (error) => tell('no use for the answer', { text: String(error) }));
    session.on('sdp', (e) => tell('sdp', { from: e.originator, sdp: e.sdp }));
    session.on('confirmed', () => tell('confirmed'));
    session.on('ended', (e) => tell('ended', { cause: e.cause, by: e.originator }));
    setInterval(async () => {
      const stats = await session.connection?.getStats();
      for (const one of stats?.values() ?? []) {
        if (one.type === 'inbound-rtp' && one.packetsReceived) tell('heard', { packets: one.packetsReceived });
      }
    }, 1000);
  });
  window.hangUp = () => session.terminate();
  ua.start();
}

const profile = fs.mkdtempSync(path.join(folder, 'chromium-'));
const chromium = spawn(
  'chromium',
  [
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage', '--ignore-certificate-errors',
    '--use-fake-ui-for-media-stream', '--use-fake-device-for-media-stream', '--autoplay-policy=no-user-gesture-required',
    '--disable-features=WebRtcHideLocalIpsWithMdns', `--user-data-dir=${profile}`, '--remote-debugging-pipe', 'about:blank',
  ],
  { stdio: ['ignore', 'ignore', fs.openSync(path.join(folder, 'chromium.log'), 'w'), 'pipe', 'pipe'] },
);
chromium.on('exit', (code) => process.exit(code ?? 1));

let number = 0;
const waiting = new Map();
const call = (method, params = {}, sessionId = undefined) =>
  new Promise((resolve, reject) => {
    waiting.set(++number, { resolve, reject });
    chromium.stdio[3].write(`${JSON.stringify({ id: number, method, params, sessionId })}\0`);
  });
let unread = '';
let page;
let onLoad = () => {};
chromium.stdio[4].on('data', (data) => {
  const parts = (unread + data).split('\0');
  unread = parts.pop();
  for (const message of parts.map((part) => JSON.parse(part))) {
    if (message.id) {
      const { resolve, reject } = waiting.get(message.id);
      waiting.delete(message.id);
      if (message.error) reject(new Error(JSON.stringify(message.error)));
      else resolve(message.result);
    } else if (message.method === 'Page.loadEventFired') {
      onLoad();
    } else if (message.method === 'Runtime.bindingCalled') {
      const event = JSON.parse(message.params.payload);
      say(event.event, event);
    } else if (message.method === 'Runtime.exceptionThrown') {
      say('exception', { text: JSON.stringify(message.params.exceptionDetails).slice(0, 2000) });
    }
  }
});

async function main() {
  const file = path.join(folder, 'phone.html');
  fs.writeFileSync(file, '<!doctype html><meta charset="utf-8"><title>Phone</title><body>');
  const { targetId } = await call('Target.createTarget', { url: 'about:blank' });
  page = (await call('Target.attachToTarget', { targetId, flatten: true })).sessionId;
  await call('Page.enable', {}, page);
  const loaded = new Promise((resolve) => (onLoad = resolve));
  await call('Page.navigate', { url: `file://${file}` }, page);
  await loaded;
  await call('Runtime.enable', {}, page);
  await call('Runtime.addBinding', { name: 'report' }, page);
  await call('Runtime.evaluate', { expression: bundle('jssip') }, page);
  const settings = JSON.stringify({ url, uri, password, callee });
  const expression = `(${phone})(${settings})`;
  const run = await call('Runtime.evaluate', { expression, awaitPromise: true }, page);
  if (run.exceptionDetails) say('exception', { text: JSON.stringify(run.exceptionDetails).slice(0, 2000) });
  process.stdin.on('data', () => call('Runtime.evaluate', { expression: 'hangUp()' }, page));
  process.stdin.on('end', () => chromium.kill());
}

main().catch((error) => {
  say('broken', { text: String(error) });
  chromium.kill();
});
