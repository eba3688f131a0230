// Reads a whole INBOX with imapflow, parses each mail with mailparser, and publishes it
// to JetStream: what people build in Node. It says how many the broker confirmed.
import { readFileSync } from 'node:fs';
import { ImapFlow } from 'imapflow';
import { simpleParser } from 'mailparser';
import { connect } from 'nats';

const env = process.env;
const stream = 'BENCH_NODE';
const window = 256; // mails that wait for the broker

const nc = await connect({ servers: env.NATS_URL });
const manager = await nc.jetstreamManager();
await manager.streams.delete(stream).catch(() => {});
await manager.streams.add({ name: stream, subjects: ['bench.node.>'] });
const js = nc.jetstream();

const client = new ImapFlow({
  host: 'localhost', port: Number(env.IMAP_PORT), secure: true, logger: false,
  tls: { ca: readFileSync(env.IMAP_CA) },
  auth: { user: env.IMAP_USER, pass: env.IMAP_PASSWORD },
});
await client.connect();
const lock = await client.getMailboxLock('INBOX', { readOnly: true });
let waiting = [];
let published = 0;
const settle = async () => {
  published += (await Promise.all(waiting)).length;
  waiting = [];
};
for await (const message of client.fetch('1:*', { uid: true, source: true })) {
  const mail = await simpleParser(message.source);
  const event = {
    uid: message.uid, id: mail.messageId, subject: mail.subject, date: mail.date,
    from: mail.from?.value, to: mail.to?.value, text: mail.text, html: mail.html,
    attachments: mail.attachments.map(({ filename, contentType, size, checksum }) => ({ filename, contentType, size, checksum })),
  };
  waiting.push(js.publish(`bench.node.${message.uid}`, JSON.stringify(event), { msgID: String(message.uid) }));
  if (waiting.length === window) await settle();
}
await settle();
lock.release();
await client.logout();
await manager.streams.delete(stream);
await nc.drain();
console.log(`published ${published}`);
