package imapsession

import (
	"slices"
	"testing"
)

func TestMatch(t *testing.T) {
	for _, tt := range []struct {
		pattern, name string
		want          bool
	}{
		{"*", "a/b", true}, {"%", "a/b", false}, {"%", "a", true}, {"Clients/*", "Clients/A/B", true},
		{"Clients/%", "Clients/A/B", false}, {"*B", "Clients/A/B", true}, {"x*", "Clients", false}, {"П*", "Поддержка", true},
	} {
		if got := match(tt.pattern, tt.name, "/"); got != tt.want {
			t.Errorf("match(%q, %q) = %v", tt.pattern, tt.name, got)
		}
	}
	if names, patterns := splitFilter([]string{" inbox ", "INBOX", "", "A/*"}); !slices.Equal(names, []string{"INBOX"}) || !slices.Equal(patterns, []string{"A/*"}) {
		t.Errorf("splitFilter: %q %q", names, patterns)
	}
}
