package main

import (
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// window publishes from a number of buffers, each of which is free again when
// the broker has answered. It is for one goroutine.
type window struct {
	js   jetstream.JetStream
	free chan []byte
}

func newWindow(nc *nats.Conn, buffers, size int) (w *window, err error) {
	w = &window{free: make(chan []byte, buffers)}
	for range buffers {
		w.free <- make([]byte, size)
	}
	w.js, err = jetstream.New(nc, jetstream.WithPublishAsyncTimeout(10*time.Second),
		jetstream.WithPublishAsyncMaxPending(2*buffers), // the buffers are the bound, this is never met
		jetstream.WithPublishAsyncAckHandler(func(_ jetstream.JetStream, m *nats.Msg, _ *jetstream.PubAck) { w.put(m.Data) }),
		jetstream.WithPublishAsyncErrHandler(func(_ jetstream.JetStream, m *nats.Msg, _ error) { w.put(m.Data) }))
	return w, err
}

// take waits for a free buffer, which goes to publish.
func (w *window) take() []byte { return <-w.free }

func (w *window) put(buffer []byte) { w.free <- buffer[:cap(buffer)] }

func (w *window) publish(subject string, data []byte, header nats.Header) (jetstream.PubAckFuture, error) {
	return w.js.PublishMsgAsync(&nats.Msg{Subject: subject, Data: data, Header: header})
}

// stored waits until the broker has answered.
func stored(ack jetstream.PubAckFuture) (*jetstream.PubAck, error) {
	select {
	case a := <-ack.Ok():
		return a, nil
	case err := <-ack.Err():
		return nil, err
	}
}
