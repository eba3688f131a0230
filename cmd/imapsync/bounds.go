package main

import (
	"errors"
	"fmt"
	"time"
)

// bounded is what a flag may be whose value can make no sense.
type bounded interface {
	int | int64 | time.Duration
}

// within is what is wrong with a flag outside of its bounds.
func within[T bounded](flag string, value, least, most T) error {
	if value < least || value > most {
		return fmt.Errorf("--%s %v: %v to %v", flag, value, least, most)
	}
	return nil
}

// atLeast is what is wrong with a flag below its least.
func atLeast[T bounded](flag string, value, least T) error {
	if value < least {
		return fmt.Errorf("--%s %v: at least %v", flag, value, least)
	}
	return nil
}

// zeroOr is atLeast for a flag whose zero means something of its own.
func zeroOr[T bounded](flag string, value, least T) error {
	if value != 0 && value < least {
		return fmt.Errorf("--%s %v: 0, or at least %v", flag, value, least)
	}
	return nil
}

// tick is the least of a span that is waited for.
const tick = time.Millisecond

// usage makes one error of all that is wrong with the flags, a line each; nil
// when nothing is.
func usage(problems ...error) error {
	if err := errors.Join(problems...); err != nil {
		return &exitError{exitUsage, err}
	}
	return nil
}
