// The line to the server: reading, and an outbox of decisions that is emptied in order, one at a time.
// A decision counts as saved when the server has answered. Until then it stays in the outbox, which survives a reload.

const RETRY_MS = 1500, TIMEOUT_MS = 15000;

class Gone extends Error {}
class Refused extends Error {}
class Stopped extends Error {}

export class Link {
  // tell: {session(values), saved(operation, answer), refused(operation, text), outbox(number), trouble(text)}
  constructor(tell) {
    this.tell = tell;
    this.csrf = "";
    this.place = null;
    this.steps = 0;
    this.outbox = [];
    this.sending = false;
    this.stopped = false;
  }

  async open() {
    await this.#untilAnswered(() => this.#session());
    this.outbox = JSON.parse(sessionStorage.getItem(this.#key()) || "[]");
    this.tell.outbox(this.outbox.length);
    this.#send();
  }

  // The answer of an address; waits as long as it takes for the server to come back. Refusals are thrown.
  get(address) {
    return this.#untilAnswered(() => this.#fetch(address));
  }

  // {kind: "decide", wishes, check} or {kind: "undo"}
  push(operation) {
    this.outbox.push(operation);
    this.#keep();
    this.#send();
  }

  tryNow() {
    this.wake?.();
  }

  async #send() {
    if (this.sending) return;
    this.sending = true;
    try {
      await this.#empty();
    } catch (error) {
      if (!(error instanceof Stopped)) throw error;
    }
    this.sending = false;
  }

  async #empty() {
    while (this.outbox.length && !this.stopped) {
      const operation = this.outbox[0];
      if (operation.kind === "undo" && operation.expect === undefined) operation.expect = this.steps;
      this.#keep();
      let answer = null, refusal = null;
      try {
        answer = await this.#untilAnswered(() => this.#post(operation));
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        refusal = error.message;
      }
      if (answer) this.steps = answer.steps;
      this.outbox.shift();
      this.#keep();
      if (refusal) {
        this.tell.refused(operation, refusal);
        await this.#untilAnswered(() => this.#session());
      } else this.tell.saved(operation, answer);
    }
  }

  #post(operation) {
    const body = operation.kind === "undo" ? { expect: operation.expect } : { wishes: operation.wishes, check: operation.check };
    return this.#fetch(`/api/${operation.kind}`, {
      method: "POST",
      headers: { "content-type": "application/json", "x-budwood-csrf": this.csrf },
      body: JSON.stringify(body),
    });
  }

  async #session() {
    const session = await this.#fetch("/api/session");
    if (this.place !== null && session.place !== this.place) {
      this.stopped = true;
      this.tell.trouble("Another folder is served at this address now. Load the page again to go on with it.", false);
      throw new Stopped();
    }
    this.place = session.place;
    this.csrf = session.csrf;
    this.steps = session.steps;
    this.tell.session(session);
    return session;
  }

  async #untilAnswered(ask) {
    for (let failures = 0; ; failures += 1) {
      try {
        if (failures && this.place !== null) await this.#session(); // a server that was started again has a new token
        const answer = await ask();
        this.tell.trouble("");
        return answer;
      } catch (error) {
        if (!(error instanceof Gone)) throw error;
        this.tell.trouble(error.message);
        await new Promise((resolve) => {
          this.wake = resolve;
          setTimeout(resolve, RETRY_MS);
        });
      }
    }
  }

  async #fetch(address, options = {}) {
    let response, answer;
    try {
      response = await fetch(address, { ...options, signal: AbortSignal.timeout(TIMEOUT_MS), credentials: "same-origin" });
      answer = await response.json();
    } catch {
      throw new Gone("The server does not answer.");
    }
    if (response.ok) return answer;
    if (answer.code === "csrf") throw new Gone("The server was started again.");
    if (answer.code === "token") throw new Gone("The server was started again and asks for its token: open the address that it has printed.");
    if (response.status >= 500) throw new Gone(`The server cannot save: ${answer.error}.`);
    throw new Refused(answer.error);
  }

  #keep() {
    sessionStorage.setItem(this.#key(), JSON.stringify(this.outbox));
    this.tell.outbox(this.outbox.length);
  }

  #key() {
    return `budwood-outbox-${this.place}`;
  }
}
