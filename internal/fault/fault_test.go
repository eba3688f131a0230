package fault

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestErrorsKeepWhatTheyWrap(t *testing.T) {
	cause := errors.New("no route")
	err := fmt.Errorf("provider support: %w", Newf(Transient, "connect", "connect: %w", cause).With("host", "mail.test"))
	e, ok := Of(err)
	if !ok || e.Class != Transient || e.Code != "connect" || !errors.Is(err, cause) {
		t.Fatalf("Of(%v) = %+v, %v", err, e, ok)
	}
	if diff := cmp.Diff(map[string]string{"host": "mail.test"}, e.Params); diff != "" {
		t.Error(diff)
	}
	if want := "provider support: connect: no route"; err.Error() != want {
		t.Errorf("text %q, want %q", err, want)
	}
}

func TestWithLeavesTheFirstErrorAlone(t *testing.T) {
	first := New(Config, "host_not_found", errors.New("not in DNS")).With("host", "a.test")
	second := first.With("host", "b.test")
	if first.Params["host"] != "a.test" || second.Params["host"] != "b.test" {
		t.Errorf("params %v and %v", first.Params, second.Params)
	}
}

func TestTheFirstRowCounts(t *testing.T) {
	general := errors.New("unreachable")
	special := fmt.Errorf("broker: %w", general)
	table := Table{{special, Transient, "nats"}, {general, Transient, "postgres"}}
	if row, ok := table.Find(fmt.Errorf("publish: %w", special)); !ok || row.Code != "nats" {
		t.Errorf("found %+v, %v", row, ok)
	}
	if row, ok := table.Find(errors.New("other")); ok {
		t.Errorf("found %+v for an error of no row", row)
	}
}

func TestHasLooksBehindWhatStandsFirst(t *testing.T) {
	bug := fmt.Errorf("folder b: %w", New(Bug, "sql", errors.New("syntax")))
	both := fmt.Errorf("pass: %w", errors.Join(New(Transient, "refused", errors.New("no")), New(Config, "secret", bug)))
	if !Has(both, Bug) || !Has(both, Config) || Has(both, Auth) || Has(nil, Bug) {
		t.Errorf("in %v: bug %v, config %v, auth %v", both, Has(both, Bug), Has(both, Config), Has(both, Auth))
	}
}

type about struct {
	class       Class
	code, facts string
}

func TestTheFirstWordsThatFitCount(t *testing.T) {
	words := Words{
		{Codes: "timeout greeting", When: "test", Say: "give {host} more time"},
		{Codes: "timeout", Class: Transient, Do: "imapsync doctor {id}"},
		{Class: Auth, When: "oauth2 person", Say: "sign in"},
		{Class: Auth, Say: "check the password"},
	}
	params := map[string]string{"id": "7", "host": "mail.test"}
	for _, tt := range []struct {
		about about
		want  Word
	}{
		{about{Transient, "timeout", "person test"}, Word{Say: "give mail.test more time"}},
		{about{Transient, "timeout", "person"}, Word{Do: "imapsync doctor 7"}},
		{about{Auth, "expired", "oauth2 person"}, Word{Say: "sign in"}},
		{about{Auth, "expired", "oauth2"}, Word{Say: "check the password"}},
		{about{Config, "greeting", ""}, Word{}},
	} {
		got := words.Find(About{Class: tt.about.class, Code: tt.about.code, Facts: strings.Fields(tt.about.facts), Params: params})
		if got.Say != tt.want.Say || got.Do != tt.want.Do {
			t.Errorf("%+v: %q, %q", tt.about, got.Say, got.Do)
		}
	}
	if !words.Names("greeting") || words.Names("expired") {
		t.Error("a code is named where its row is, and nowhere else")
	}
}
