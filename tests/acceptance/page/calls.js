// gRPC-Web by hand, to a server of another origin.

const SERVICE = "test.Service";

function pack(text) {
  const message = new TextEncoder().encode(text);
  const framed = new Uint8Array(5 + message.length);
  new DataView(framed.buffer).setUint32(1, message.length);
  framed.set(message, 5);
  return framed;
}

const toText = (octets) => btoa(String.fromCharCode(...octets));
const fromText = (text) => Uint8Array.from(text.match(/[^=]+={0,2}/g).map(atob).join(""), (char) => char.charCodeAt(0));

// Calls a method; `each` is told of every message as it comes. Gives the messages and the trailers.
async function call(api, method, request, text, each = async () => {}) {
  const kind = text ? "application/grpc-web-text" : "application/grpc-web+proto";
  const answer = await fetch(`${api}/${SERVICE}/${method}`, {
    method: "POST",
    headers: { "content-type": kind, "x-grpc-web": "1", "x-user-agent": "page/1", "grpc-timeout": "20S", "x-echo": method },
    body: text ? toText(pack(request)) : pack(request),
  });
  const messages = [];
  let trailers = null;
  let rest = new Uint8Array();
  let characters = "";
  const reader = answer.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    let octets = value;
    if (text) {
      characters += new TextDecoder().decode(value);
      const whole = characters.length - (characters.length % 4);
      octets = whole ? fromText(characters.slice(0, whole)) : new Uint8Array();
      characters = characters.slice(whole);
    }
    rest = new Uint8Array([...rest, ...octets]);
    while (rest.length >= 5) {
      const length = new DataView(rest.buffer, rest.byteOffset).getUint32(1);
      if (rest.length < 5 + length) break;
      const message = new TextDecoder().decode(rest.slice(5, 5 + length));
      if (rest[0] === 0x80) {
        trailers = Object.fromEntries(message.trim().split("\r\n").map((line) => line.split(/:(.*)/s).slice(0, 2)));
      } else {
        messages.push(message);
        await each(messages.length);
      }
      rest = rest.slice(5 + length);
    }
  }
  return { status: answer.status, type: answer.headers.get("content-type"), echo: answer.headers.get("x-echo"), messages, trailers };
}

export async function calls(api, seen) {
  const result = {};
  for (const text of [false, true]) {
    const name = text ? "text" : "binary";
    result[name] = {
      unary: await call(api, "Echo", "hello", text),
      stream: await call(api, "Watch", "second", text, (number) => seen("watch", number)),
      fails: await call(api, "Fail", "NOT_FOUND", text),
      refused: await call(api, "Refused", "", text),
    };
  }
  try {
    await fetch(`${api}/no-cors`);
    result.forbidden = "read";
  } catch (error) {
    result.forbidden = error.name;
  }
  return result;
}
