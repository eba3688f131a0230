package parse

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func parseHeader(h string) *Message { return Parse([]byte(h+"\n\nbody\n"), Limits{}) }

func TestAutoSubmitted(t *testing.T) {
	tests := []struct{ header, want, confidence string }{
		{"Subject: hello", "no", ""},
		{"Auto-Submitted: no\nX-Autoreply: yes", "no", ""},
		{"Auto-Submitted: auto-replied (vacation)", "auto-replied", "high"},
		{"Auto-Submitted: AUTO-GENERATED; owner=x", "auto-generated", "high"},
		{"Auto-Submitted: auto-notified", "auto-generated", "high"},
		{"X-Autoreply: yes", "auto-replied", "high"},
		{"X-Autorespond: re", "auto-replied", "high"},
		{"Precedence: auto_reply", "auto-replied", "high"},
		{"X-Auto-Response-Suppress: All", "auto-generated", "high"},
		{"X-Auto-Response-Suppress: None", "no", ""},
		{"From: MAILER-DAEMON@example.com", "auto-replied", "high"},
		{"Subject: Out of Office: gone fishing", "auto-replied", "low"},
		{"Subject: Automatische Antwort: Anfrage", "auto-replied", "low"},
		{"Subject: =?utf-8?q?R=C3=A9ponse_automatique=C2=A0:_x?=", "auto-replied", "low"},
		{"Subject: Re: Automatic reply: x", "auto-replied", "low"},
		{"Subject: we are out of office chairs", "no", ""},
	}
	for _, tt := range tests {
		m := parseHeader(tt.header)
		if m.AutoSubmitted != tt.want || m.AutoSubmittedConfidence != tt.confidence {
			t.Errorf("%q: %q, %q; want %q, %q", tt.header, m.AutoSubmitted, m.AutoSubmittedConfidence, tt.want, tt.confidence)
		}
	}
}

func TestClassify(t *testing.T) {
	tests := []struct {
		header                             string
		importance, sensitivity, recipient string
		list, bounce                       bool
	}{
		{"Subject: x", "normal", "normal", "", false, false},
		{"Importance: High", "high", "normal", "", false, false},
		{"X-Priority: 5 (Lowest)", "low", "normal", "", false, false},
		{"X-Priority: 3\nX-MSMail-Priority: High", "high", "normal", "", false, false},
		{"Priority: non-urgent\nSensitivity: Private", "low", "private", "", false, false},
		{"Sensitivity: Company-Confidential", "normal", "company-confidential", "", false, false},
		{"Sensitivity: whatever", "normal", "normal", "", false, false},
		{"List-Id: <l.example.com>", "normal", "normal", "", true, false},
		{"List-Unsubscribe: <mailto:u@example.com>", "normal", "normal", "", false, false},
		{"Delivered-To: box@example.com\nX-Original-To: alias@example.com", "normal", "normal", "alias@example.com", false, false},
		{"From: Mail Delivery Subsystem <MAILER-DAEMON>", "normal", "normal", "", false, true},
		{"Return-Path: <>\nFrom: postmaster@example.com", "normal", "normal", "", false, true},
		{"From: postmaster@example.com\nSubject: maintenance tonight", "normal", "normal", "", false, false},
	}
	for _, tt := range tests {
		m := parseHeader(tt.header)
		if m.Importance != tt.importance || m.Sensitivity != tt.sensitivity || m.Recipient != tt.recipient || m.IsList != tt.list || m.IsBounce != tt.bounce {
			t.Errorf("%q: %s %s %q list %v bounce %v", tt.header, m.Importance, m.Sensitivity, m.Recipient, m.IsList, m.IsBounce)
		}
	}
}

func TestBounceOfReports(t *testing.T) {
	report := func(kind, body string) *Message {
		return Parse([]byte("From: x@example.com\nContent-Type: multipart/report; report-type="+kind+"; boundary=b\n\n--b\n\ntext\n--b\nContent-Type: message/"+kind+"\n\n"+body+"\n--b--\n"), Limits{})
	}
	m := report("delivery-status", "Reporting-MTA: dns; x\n\nFinal-Recipient: rfc822;a@example.com\nAction: delayed\nStatus: 4.4.1\n")
	if diff := cmp.Diff(&Bounce{FinalRecipient: "a@example.com", Action: "delayed", Status: "4.4.1"}, m.Bounce); diff != "" || !m.IsBounce {
		t.Errorf("delayed: bounce %v\n%s", m.IsBounce, diff)
	}
	if m := report("delivery-status", "Final-Recipient: rfc822;a@example.com\nAction: delivered\nStatus: 2.0.0\n"); m.IsBounce || m.Bounce == nil {
		t.Errorf("delivered: bounce %v, %+v", m.IsBounce, m.Bounce)
	}
	if m := report("feedback-report", "Feedback-Type: abuse\n"); m.IsBounce || m.Bounce != nil {
		t.Errorf("complaint: bounce %v, %+v", m.IsBounce, m.Bounce)
	}
	if m := report("disposition-notification", "Final-Recipient: rfc822;a@example.com\n"); m.IsBounce || m.Bounce != nil {
		t.Errorf("read receipt: bounce %v, %+v", m.IsBounce, m.Bounce)
	}
}

func TestThread(t *testing.T) {
	tests := []struct {
		header, id, reply, thread string
		refs                      []string
	}{
		{"Message-ID: <a@b>", "a@b", "", "", nil},
		{"Message-ID: a@b", "a@b", "", "", nil},
		{"Message-ID: <<a @b>>", "a@b", "", "", nil},
		{"Message-ID: <unclosed@b", "unclosed@b", "", "", nil},
		{"Message-ID: <a@b> (added by x@y)", "a@b", "", "", nil},
		{"In-Reply-To: Your message of Monday <a@b>", "", "a@b", "a@b", nil},
		{"In-Reply-To: Your message of Monday", "", "", "", nil},
		{"In-Reply-To: <z@b>\nReferences: <a@b>\n <b@b><a@b>,<c@b>", "", "z@b", "a@b", []string{"a@b", "b@b", "c@b"}},
		{"References: a@b c@d", "", "", "a@b", []string{"a@b", "c@d"}},
	}
	for _, tt := range tests {
		m := parseHeader(tt.header)
		if m.MessageID != tt.id || m.InReplyTo != tt.reply || m.ThreadID != tt.thread || !cmp.Equal(m.References, tt.refs) {
			t.Errorf("%q: id %q, in reply to %q, thread %q, references %q", tt.header, m.MessageID, m.InReplyTo, m.ThreadID, m.References)
		}
	}
}
