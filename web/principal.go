package web

import "context"

// Principal is who has signed in.
type Principal struct {
	Name   string // for the audit trail: an e-mail address, or how somebody signed in
	Tenant string // what is shown and changed; empty: all tenants
}

type principalKey struct{}

// PrincipalFrom returns who has signed in. Behind a Gate there is always one,
// but for the assets.
func PrincipalFrom(ctx context.Context) (Principal, bool) {
	p, ok := ctx.Value(principalKey{}).(Principal)
	return p, ok
}

func withPrincipal(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}
