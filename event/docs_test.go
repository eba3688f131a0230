package event

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// docs/events.md has each field of the schema, with its type and whether it is
// always there, each with a meaning, and no other.
func TestDocsFields(t *testing.T) {
	data, err := os.ReadFile("../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	section := ""
	for line := range strings.SplitSeq(string(data), "\n") {
		if name, ok := strings.CutPrefix(line, "### "); ok {
			section = name
		}
		cells := strings.Split(line, " | ")
		if section == "" || !strings.HasPrefix(line, "| `") || len(cells) != 4 {
			continue
		}
		name := section + "." + strings.Trim(cells[0], "|` ")
		got = append(got, fmt.Sprintf("%s: %s, always %v", name, cells[1], cells[2] == "yes"))
		if len(strings.Trim(cells[3], "| ")) < 5 {
			t.Errorf("docs/events.md does not say what %s means", name)
		}
	}

	var root shape
	if err := json.Unmarshal(Schema, &root); err != nil {
		t.Fatal(err)
	}
	want := root.rows("event")
	for name, def := range root.Defs {
		want = append(want, def.rows(name)...)
	}
	payload := root.Properties["payload"]
	want = append(want, payload.rows("payload")...)
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docs/events.md (-schema +docs):\n%s", diff)
	}
	for _, code := range []string{
		DefectDate, DefectReceivedAt, DefectEmptyAttachment, DefectMessageIDReused, DefectBodyTruncated, DefectSubject, DefectHeaders,
		DefectRecipients, DefectReferences, DefectReply, DefectFields, DefectAttachments, DefectSkipReasons, DefectDefects,
	} {
		if !regexp.MustCompile("(?m)^\\| .*`" + code + "`").Match(data) {
			t.Errorf("docs/events.md does not have the defect %s", code)
		}
	}
}

// shape is what of a schema the tables show.
type shape struct {
	Const                string
	Enum                 []string
	Ref                  string `json:"$ref"`
	Type                 string
	Items                *shape
	Required             []string
	Properties           map[string]shape
	AdditionalProperties *shape
	Defs                 map[string]shape `json:"$defs"`
}

func (s shape) rows(section string) (list []string) {
	for name, p := range s.Properties {
		list = append(list, fmt.Sprintf("%s.%s: %s, always %v", section, name, p.words(), slices.Contains(s.Required, name)))
	}
	return list
}

// words are the type as a table has it.
func (s shape) words() string {
	switch {
	case s.Const != "":
		return "`\"" + s.Const + "\"`"
	case s.Enum != nil:
		return "`" + strings.Join(s.Enum, "`, `") + "`"
	case s.Ref != "":
		name := strings.TrimPrefix(s.Ref, "#/$defs/")
		if slices.Contains([]string{"time", "token", "sha256"}, name) {
			return name
		}
		return "[" + name + "](#" + strings.ToLower(name) + ")"
	case s.Items != nil:
		return "list of " + s.Items.words()
	case s.AdditionalProperties != nil:
		return "map of " + s.AdditionalProperties.words()
	case s.Properties != nil:
		return "[payload](#payload)"
	}
	return s.Type
}
