package devenv_test

import (
	"os"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"imapsync/internal/contract"
	"imapsync/internal/devenv"
)

// An event that is not as the schema says fails the test that left it; what a
// test put there itself does not.
func TestConforming(t *testing.T) {
	n, err := devenv.StartNATS(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	js := jetStream(t, n)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "INBOUND_EMAIL", Subjects: []string{"mail.inbound.v1.>"}}); err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("testdata/event.json")
	if err != nil {
		t.Fatal(err)
	}
	schema, err := os.ReadFile("../../event/schema.json")
	if err != nil {
		t.Fatal(err)
	}
	compiled, err := contract.New(schema)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		header, data, want string
		events             int
	}{
		{"", "no event", "", 0},
		{"INBOUND_EMAIL_RECEIVED", string(example), "", 1},
		{"INBOUND_EMAIL_RECEIVED", strings.Replace(string(example), `"subject"`, `"subjekt"`, 1), "subjekt", 1},
	} {
		m := &nats.Msg{Subject: "mail.inbound.v1.t.p.k", Data: []byte(step.data), Header: nats.Header{"Imapsync-Event": {step.header}}}
		if _, err := js.PublishMsg(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		events, err := n.Conforming(t.Context(), compiled)
		if events != step.events || (err == nil) != (step.want == "") || err != nil && !strings.Contains(err.Error(), step.want) {
			t.Errorf("%.40q: %d events, %v; want %d, %q", step.data, events, err, step.events, step.want)
		}
	}
}
