// Does what pages do, one thing after another, and sends what came of it to /beacon.
// Whatever is sent piece by piece waits, at the origin, for /seen of the piece before: a piece that is held back anywhere
// stops everything.
import { calls } from "./calls.js";

const parameters = new URLSearchParams(location.search);
const seen = (what, number) => fetch(`/seen/${what}/${number}`, { cache: "no-store" });

function styled() {
  const colour = getComputedStyle(document.getElementById("styled")).color;
  return { colour, classic: window.classic, pictures: [...document.images].map((image) => image.naturalWidth) };
}

async function stream() {
  const reader = (await fetch("/stream")).body.getReader();
  const pieces = [];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return pieces;
    pieces.push(new TextDecoder().decode(value));
    await seen("stream", pieces.length);
  }
}

// The origin ends the first connection after two events; the browser comes back by itself and says where it was.
function events() {
  return new Promise((resolve, reject) => {
    const source = new EventSource("/events");
    const received = [];
    source.onmessage = async (event) => {
      received.push([event.lastEventId, event.data]);
      await seen("events", event.lastEventId);
    };
    source.addEventListener("end", () => {
      source.close();
      resolve(received);
    });
    source.onerror = () => source.readyState === EventSource.CLOSED && reject(new Error("the stream of events was closed"));
  });
}

function socket() {
  return new Promise((resolve, reject) => {
    const made = new WebSocket(`wss://${location.host}/socket`, ["first", "chat"]);
    const received = [];
    made.binaryType = "arraybuffer";
    made.onopen = () => {
      made.send("hello, über");
      made.send(new Uint8Array(100000).fill(7));
    };
    made.onmessage = ({ data }) => {
      received.push(typeof data === "string" ? data : `${data.byteLength} octets of ${new Uint8Array(data)[99999]}`);
      if (received.length === 2) made.send("close");
    };
    made.onclose = ({ code, reason, wasClean }) => resolve({ received, code, reason, wasClean, protocol: made.protocol });
    made.onerror = () => reject(new Error("the socket failed"));
  });
}

// The origin answers when all of them are there.
async function parallel() {
  const number = Number(parameters.get("parallel"));
  const answers = await Promise.all(
    Array.from({ length: number }, (_, n) => fetch(`/together/${n}`, { cache: "no-store" }).then((each) => each.text())),
  );
  return answers;
}

async function upload() {
  const answer = await fetch("/upload", { method: "POST", body: new Uint8Array(1500000).fill(65) });
  return answer.json();
}

async function cookies() {
  document.cookie = "one=1";
  document.cookie = "two=2";
  return (await fetch("/cookies")).text();
}

function timings() {
  const entries = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
  return entries.map((entry) => {
    const url = new URL(entry.name);
    return { host: url.hostname, path: url.pathname, protocol: entry.nextHopProtocol, reused: entry.connectStart === entry.connectEnd };
  });
}

async function main() {
  const result = { errors: [] };
  const steps = { styled, stream, events, socket, parallel, upload, cookies, calls: () => calls(parameters.get("api"), seen), timings };
  for (const [name, step] of Object.entries(steps)) {
    try {
      result[name] = await step();
    } catch (error) {
      result.errors.push(`${name}: ${error}`);
    }
  }
  await fetch("/beacon", { method: "POST", body: JSON.stringify(result) });
}

window.addEventListener("load", main);
