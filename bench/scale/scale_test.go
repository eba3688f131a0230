package main

import (
	"bytes"
	"flag"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the tables of docs/scale.md anew")

// The tables in docs/scale.md are those that the program prints.
func TestTables(t *testing.T) {
	const path, begin, end = "../../docs/scale.md", "<!-- computed -->\n\n", "\n<!-- end -->"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), begin)
	got, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no place for the tables", path)
	}
	var want bytes.Buffer
	tables(&want)
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+want.String()+end+after), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want.String(), got); diff != "" {
		t.Errorf("%s is not what the program prints; go test ./scale -update\n%s", path, diff)
	}
}

func TestPlan(t *testing.T) {
	few, many := planFor(usual(60_000), known(), cloud()), planFor(usual(600_000), known(), cloud())
	if few.PassesASecond != 1000 {
		t.Errorf("%v passes a second of 60,000 providers a minute", few.PassesASecond)
	}
	// 1000 passes a second of 0.5 s each are 500 at a time.
	if at := few.InFlight * few.Pods; at < 500 || at > 520 {
		t.Errorf("%v at a time", at)
	}
	for name, ratio := range map[string]float64{
		"cores": many.Cores / few.Cores, "transactions": many.Transactions / few.Transactions, "memory": many.NATSMemoryGB / few.NATSMemoryGB,
	} {
		if math.Abs(ratio-10) > 1e-9 {
			t.Errorf("ten times the providers take %v times the %s", ratio, name)
		}
	}
	if one := planFor(usual(1), known(), cloud()); one.Pods != 1 || one.InFlight != 8 {
		t.Errorf("one provider: %+v", one)
	}
}

func TestFigure(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.00463: "0.0046", 9.96: "10", 93: "93", 929: "930", 16_667: "17,000", 4_200_000: "4,200,000"} {
		if got := figure(v); got != want {
			t.Errorf("%v is written %s, want %s", v, got, want)
		}
	}
}

// What is measured for the tables is in the order of what they say.
func TestMeasured(t *testing.T) {
	var out bytes.Buffer
	if err := measureAll(t.Context(), &out, 20_000); err != nil {
		t.Fatal(err)
	}
	t.Log(out.String())
	if strings.Count(out.String(), "each") != 2 {
		t.Error(out.String())
	}
}
