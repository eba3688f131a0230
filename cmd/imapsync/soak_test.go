//go:build soak

package main

import "testing"

func TestSoakLargeMailInBoundedMemory(t *testing.T) {
	largeMailInBoundedMemory(t, 40)
}

func TestSoakTwoCronJobsAtOnce(t *testing.T) {
	t.Parallel()
	twoCronJobsAtOnce(t, 100)
}
