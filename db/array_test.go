package db

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/lib/pq"
)

func TestArraysArriveAsTheyAre(t *testing.T) {
	store := testStore(t)
	for _, want := range []texts{nil, {}, {""}, {`{"a",b}`, `\`, "NULL", "Поддержка", " ", "\n"}} {
		var got []string
		if err := store.pool.QueryRowContext(t.Context(), `SELECT $1::text[]`, want).Scan(pq.Array(&got)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string(want), got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("texts (-want +got):\n%s", diff)
		}
	}
	for _, want := range []bigints{nil, {}, {0}, {math.MinInt64, -1, 1, math.MaxUint32, math.MaxInt64}} {
		var got []int64
		if err := store.pool.QueryRowContext(t.Context(), `SELECT $1::bigint[]`, want).Scan(pq.Array(&got)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]int64(want), got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("bigints (-want +got):\n%s", diff)
		}
	}
}
