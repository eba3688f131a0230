// A small ticket system that knows nothing but the events: it opens a ticket
// for each conversation and files every answer there. Copy it and put your own
// ticket system in the place of its journal.
import { createHash } from "node:crypto";
import { createWriteStream, readFileSync } from "node:fs";
import { mkdir, open, readFile, rename, rm, truncate } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { parseArgs } from "node:util";
import { AckPolicy, DeliverPolicy, connect, credsAuthenticator, nanos } from "nats";

const stream = "INBOUND_EMAIL";

class Desk {
  tickets = 0;
  done = new Set(); // ids of events
  threads = new Map(); // tenant and Message-ID → ticket

  // start reads the journal. A last line that a crash cut short is taken away:
  // its event was not acknowledged and comes again.
  async start(dir) {
    this.dir = dir;
    await mkdir(join(dir, "files"), { recursive: true, mode: 0o700 });
    const path = join(dir, "tickets.jsonl");
    this.journal = await open(path, "a", 0o600);
    const text = await readFile(path, "utf8");
    const whole = text.slice(0, text.lastIndexOf("\n") + 1);
    await truncate(path, Buffer.byteLength(whole));
    for (const line of whole.split("\n")) {
      if (line) this.remember(JSON.parse(line));
    }
  }

  remember(entry) {
    this.done.add(entry.event);
    this.tickets = Math.max(this.tickets, entry.ticket);
    for (const id of [...entry.relatives, entry.message]) {
      const key = `${entry.tenant} ${id}`;
      if (!this.threads.has(key)) this.threads.set(key, entry.ticket);
    }
  }

  // file puts a mail into the ticket of its conversation, or opens one for it,
  // and returns what there is to tell a person.
  async file(event, files) {
    const { tenant, emailData: mail } = event.payload;
    const entry = {
      event: event.id, ticket: 0, tenant, message: mail.id, relatives: relatives(mail),
      from: mail.from.email, subject: mail.subject,
      text: mail.reply?.text ?? mail.body.text, // without what it quotes
      files,
    };
    const known = [...entry.relatives];
    if (!reused(mail)) known.push(mail.id); // an answer to it may have come first
    entry.ticket = known.map((id) => this.threads.get(`${tenant} ${id}`)).find(Boolean) ?? 0;
    let what = "answered";
    if (!entry.ticket) {
      what = "opened";
      entry.ticket = this.tickets + 1;
    }
    await this.journal.appendFile(JSON.stringify(entry) + "\n");
    await this.journal.sync();
    this.remember(entry);
    return `#${entry.ticket} ${what} by ${entry.from}: ${entry.subject}${remarks(mail, files)}`;
  }

  // keepFiles fetches the attachments. One that was not kept when the mail was
  // read has no blob; the event's ingressSkipReasons say why.
  async keepFiles(event, bucket) {
    const files = [];
    for (const a of event.payload.emailData.attachments ?? []) {
      if (!a.blob) continue;
      await this.keep(a, await bucket(a.blob.bucket));
      files.push({ name: a.name, sha256: a.sha256 }); // the name is the sender's: never a path of ours
    }
    return files;
  }

  async keep(attachment, store) {
    const blob = await store.get(attachment.blob.key);
    if (!blob) throw new Error(`blob ${attachment.blob.key}: not found`);
    const hash = createHash("sha256");
    const part = join(this.dir, `file-${attachment.sha256}.part`);
    await pipeline(Readable.fromWeb(blob.data), async function* (chunks) {
      for await (const chunk of chunks) {
        hash.update(chunk);
        yield chunk;
      }
    }, createWriteStream(part, { mode: 0o600 }));
    if (hash.digest("hex") !== attachment.sha256) {
      await rm(part);
      throw new Error(`blob ${attachment.blob.key}: its bytes are not those its name promises`);
    }
    await rename(part, join(this.dir, "files", attachment.sha256));
  }
}

// relatives are the mails that a mail refers to, the nearest first. A bounce
// refers to the mail that came back.
function relatives(mail) {
  return [mail.bounce?.originalMessageId, mail.inReplyTo, ...[...(mail.references ?? [])].reverse()].filter(Boolean);
}

// reused says that the sender gives one Message-ID to different mails, so that
// it tells nothing.
function reused(mail) {
  return (mail.defects ?? []).some((d) => d.code === "message_id_reused");
}

// remarks are what to know before a person reads the mail, or an answer is
// sent by itself: a bounce and an automatic answer are never answered so.
function remarks(mail, files) {
  let text = "";
  if (mail.isBounce) text += " (bounce)";
  else if (mail.autoSubmitted !== "no") text += " (automatic)";
  if (files.length) text += ` [files: ${files.length}]`;
  return text;
}

// take does the work of one event, and only then says so to the broker. When
// it dies in between, the event comes again, and is known by its id.
async function take(desk, message, bucket) {
  let event;
  try {
    event = message.json();
    if (event.eventType !== "INBOUND_EMAIL_RECEIVED") throw new Error(`its eventType is ${event.eventType}`);
  } catch (err) {
    console.error(`desk: message ${message.seq} is no event: ${err.message}`);
    message.term("no event");
    return;
  }
  if (!desk.done.has(event.id)) {
    let files;
    try {
      files = await desk.keepFiles(event, bucket);
    } catch (err) {
      console.error(`desk: event ${event.id}: ${err.message}`);
      message.nak(10_000); // then once more
      return;
    }
    console.log(await desk.file(event, files));
  }
  await message.ackAck(); // and waits until the broker knows
}

const { values: options } = parseArgs({
  options: {
    dir: { type: "string", default: "desk-data" }, // where tickets and files are kept
    durable: { type: "string", default: "desk-node" }, // under which the broker remembers how far we have read
    once: { type: "boolean", default: false }, // end when nothing is left, rather than wait for more
  },
});
const desk = new Desk();
await desk.start(options.dir);
const nc = await connect({
  servers: (process.env.NATS_URL ?? "nats://127.0.0.1:4222").split(","),
  authenticator: process.env.NATS_CREDS && credsAuthenticator(readFileSync(process.env.NATS_CREDS)),
  maxReconnectAttempts: -1,
  name: "desk-node",
});
const js = nc.jetstream();
const buckets = new Map();
const bucket = async (name) => {
  if (!buckets.has(name)) buckets.set(name, await js.views.os(name));
  return buckets.get(name);
};
const manager = await js.jetstreamManager();
await manager.consumers.add(stream, { // the same again when it is there
  durable_name: options.durable,
  filter_subject: "mail.inbound.v1.>",
  deliver_policy: DeliverPolicy.All,
  ack_policy: AckPolicy.Explicit,
  ack_wait: nanos(30_000),
});
const consumer = await js.consumers.get(stream, options.durable);
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => nc.close());

if (options.once) {
  for (let message; (message = await consumer.next({ expires: 2_000 })); ) await take(desk, message, bucket);
} else {
  for await (const message of await consumer.consume({ max_messages: 100 })) await take(desk, message, bucket);
}
await nc.close();
await desk.journal.close();
