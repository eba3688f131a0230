package db

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/lib/pq"
)

func TestInFlightIsKeptPacked(t *testing.T) {
	var thousand, scattered InFlight
	for uid := range int64(1000) {
		thousand, scattered = append(thousand, 4_000_000_000+uid), append(scattered, 1+uid*5)
	}
	for name, tt := range map[string]struct {
		uids InFlight
		most int // elements in the column
	}{
		"none":                    {nil, 0},
		"one":                     {InFlight{math.MaxUint32}, 1},
		"a run":                   {thousand, 32},
		"scattered":               {scattered, 143},
		"killed before":           {InFlight{7, 7, 7, 8, 8}, 4},
		"not in order":            {InFlight{9, 10, 3, 4}, 2},
		"from one to the last":    {InFlight{1, 32}, 1},
		"from one past the last":  {InFlight{1, 33}, 2},
		"the highest in its bits": {InFlight{math.MaxUint32 - 31, math.MaxUint32}, 1},
	} {
		value, err := tt.uids.Value()
		if err != nil {
			t.Fatal(err)
		}
		var column pq.Int64Array
		if err := column.Scan(value); err != nil || len(column) > tt.most {
			t.Errorf("%s: %d elements in the column, at most %d wanted (%v)", name, len(column), tt.most, err)
		}
		var got InFlight
		if err := got.Scan(value); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.uids, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// What was written before the column was packed is a list of bare UIDs.
func TestInFlightReadsBareUIDs(t *testing.T) {
	var got InFlight
	if err := got.Scan("{1,2,3,3,4294967295}"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(InFlight{1, 2, 3, 3, math.MaxUint32}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
