package sync

import (
	"net"
	"time"
)

func (w *wire) LocalAddr() net.Addr  { return w.conn.LocalAddr() }
func (w *wire) RemoteAddr() net.Addr { return w.conn.RemoteAddr() }

// SetReadDeadline does nothing: go-imap sets none while it waits and fixed ones
// elsewhere, and the wire keeps its own.
func (w *wire) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline passes the client's deadline on; go-imap's 30 s are fine.
func (w *wire) SetWriteDeadline(t time.Time) error { return w.conn.SetWriteDeadline(t) }

// SetDeadline sets the write deadline only, see SetReadDeadline.
func (w *wire) SetDeadline(t time.Time) error { return w.conn.SetWriteDeadline(t) }
