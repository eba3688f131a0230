package main

import (
	"testing"
	"time"

	"imapsync/parse"
	"imapsync/publish"
)

// BenchmarkMessage is what one small mail costs between the server's bytes and
// the broker's: parsed, made an event, and written as JSON.
func BenchmarkMessage(b *testing.B) {
	raw := newMailbox(1).mail(5 << 10)
	d := publish.Delivery{
		Tenant: "00000000-0000-4000-8000-000000000000", ProviderID: "648edc4d-8eb8-47b8-b465-b57bd497620d",
		Folder: "INBOX", UID: 1, UIDValidity: 1, InternalDate: time.Unix(1e9, 0), Raw: raw, OccurredAt: time.Unix(1e9, 0),
	}
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			parse.Parse(raw, parse.Limits{})
		}
	})
	b.Run("parse without reply", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			parse.Parse(raw, parse.Limits{SkipReply: true})
		}
	})
	m := parse.Parse(raw, parse.Limits{})
	b.Run("event", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			publish.New(m, d, publish.Limits{})
		}
	})
}
