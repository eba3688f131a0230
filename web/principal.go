package web

import (
	"context"
	"net/http"
)

// Principal is who has signed in.
type Principal struct {
	Name   string // for the audit trail: an e-mail address, or how somebody signed in
	Tenant string // what is shown and changed; empty: all tenants
}

type principalKey struct{}

// who is signed in: behind a Gate there is always somebody, but for the assets.
func who(r *http.Request) Principal {
	p, _ := r.Context().Value(principalKey{}).(Principal)
	return p
}

func withPrincipal(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}
