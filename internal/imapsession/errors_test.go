package imapsession

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestBackoffHint(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"BAD Request is throttled. Suggested Backoff Time: 299072 milliseconds": 299072 * time.Millisecond,
		"NO Suggested backoff time: 30 s":                                       30 * time.Second,
		"BAD Suggested Backoff Time: 999999999 milliseconds":                    maxBackoffHint,
		"NO too many connections":                                               0,
	} {
		if got := BackoffHint(errors.New(text)); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// Every code that an error is made with has its class, and none is kept that no
// error has.
func TestCodes(t *testing.T) {
	made := regexp.MustCompile(`(?:failf\(|code :?= |fault\.Auth, )"([a-z_]+)"`)
	used := map[string]bool{}
	paths, err := filepath.Glob("*.go")
	must(t, err)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		must(t, err)
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		for _, m := range regexp.MustCompile(`failf\("([a-z_]+)"`).FindAllStringSubmatch(string(text), -1) {
			if classes[m[1]] == "" {
				t.Errorf("%s: code %s has no class", path, m[1])
			}
		}
		for _, m := range made.FindAllStringSubmatch(string(text), -1) {
			used[m[1]] = true
		}
	}
	for _, response := range []string{
		"UNAVAILABLE", "LIMIT", "INUSE", "THROTTLED", "OVERQUOTA", "SERVERBUG", "CONTACTADMIN", "NONEXISTENT", "TRYCREATE",
		"NOPERM", "AUTHENTICATIONFAILED", "AUTHORIZATIONFAILED", "EXPIRED", "ALERT",
	} {
		code := about("NO", response, "")
		used[code] = true
		if classes[code] == "" {
			t.Errorf("a response has the code %s, which has no class", code)
		}
	}
	used[about("BYE", "", "")] = true
	for _, response := range []string{"", "PRIVACYREQUIRED"} {
		used[aboutRefusal("NO", response, "", "")] = true
	}
	used[aboutRefusal("NO", "", "Login failed", "")] = true
	for code := range classes {
		if !used[code] {
			t.Errorf("no error has the code %s", code)
		}
	}
}
