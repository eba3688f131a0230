package main

import "math"

// load is what there is to do.
type load struct {
	Providers     int
	MailsADay     float64 // of one provider
	Every         float64 // seconds between two passes over a provider
	EventBytes    float64 // of one event on the stream
	BlobBytes     float64 // stored with it: raw mail and attachments
	BlobsEach     float64 // of a mail; each has two subjects
	KeepEvents    float64 // days
	KeepBlobs     float64 // days
	KeepLedger    float64 // days
	PassSeconds   float64 // that a pass without news waits for its server
	BusiestFactor float64 // mail of the busiest hour over that of the mean one
}

// measured is what was measured; docs/scale.md says how.
type measured struct {
	PassCPU         float64 // seconds of CPU of a pass without news
	MailCPU         float64 // seconds of CPU of a mail of 250 KB with its blobs
	PassesASecond   float64 // of one process, 200 at a time
	ProcessBytes    float64 // its memory meanwhile
	Transactions    float64 // of PostgreSQL, in a pass without news
	RowsWritten     float64 // likewise
	SubjectBytes    float64 // of NATS' memory for one event on the stream
	LedgerBytes     float64 // of PostgreSQL's disk for one mail, indexes and all
	ConnectionsEach float64 // to PostgreSQL, of one process
}

// prices are of a month, in dollars: round figures, for the order of magnitude.
type prices struct {
	Core, MemoryGB, DiskGB float64
}

// plan is what a load takes.
type plan struct {
	PassesASecond float64
	MailsASecond  float64 // in the busiest hour
	Cores         float64
	Pods          float64
	InFlight      float64 // providers at a time, in one pod
	Connections   float64 // to PostgreSQL
	Transactions  float64 // a second
	Rows          float64 // written a second
	LedgerGB      float64
	Events        float64 // on the stream
	NATSMemoryGB  float64
	EventsGB      float64
	BlobsGB       float64
	Dollars       float64 // a month
}

// spare is the part of what a process was measured to do that it is given.
const spare = 0.6

const (
	gb  = 1e9
	day = 86400.0
)

// planFor does the arithmetic.
func planFor(l load, m measured, p prices) plan {
	n := float64(l.Providers)
	var r plan
	r.PassesASecond = n / l.Every
	mean := n * l.MailsADay / day
	r.MailsASecond = mean * l.BusiestFactor
	r.Cores = r.PassesASecond*m.PassCPU + r.MailsASecond*m.MailCPU
	// One process was measured on two cores that it shared with its servers.
	r.Pods = math.Max(1, math.Ceil(math.Max(r.PassesASecond/(m.PassesASecond*spare), r.Cores/spare)))
	r.InFlight = math.Max(8, math.Ceil(r.PassesASecond/r.Pods*l.PassSeconds))
	r.Connections = r.Pods * m.ConnectionsEach
	r.Transactions = r.PassesASecond*m.Transactions + r.MailsASecond
	r.Rows = r.PassesASecond*m.RowsWritten + 3*r.MailsASecond
	r.LedgerGB = n * l.MailsADay * l.KeepLedger * m.LedgerBytes / gb
	r.Events = n * l.MailsADay * l.KeepEvents
	blobs := n * l.MailsADay * l.KeepBlobs * l.BlobsEach
	r.NATSMemoryGB = (r.Events + 2*blobs) * m.SubjectBytes / gb
	r.EventsGB = r.Events * l.EventBytes / gb
	r.BlobsGB = n * l.MailsADay * l.KeepBlobs * l.BlobBytes / gb
	memory := r.Pods*m.ProcessBytes/gb + r.NATSMemoryGB
	r.Dollars = r.Cores/spare*p.Core + memory*p.MemoryGB + (r.LedgerGB+r.EventsGB+r.BlobsGB)*p.DiskGB
	return r
}
