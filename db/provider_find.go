package db

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/lib/pq"
)

// providerFilter says which providers to load. Empty fields match all.
type providerFilter struct {
	Tenants pq.StringArray `db:"tenants"`
	IDs     pq.StringArray `db:"ids"`
	Tenant  string         `db:"tenant"`
	Name    string         `db:"name"`
}

func (s *Store) loadProviders(ctx context.Context, f providerFilter) ([]*Provider, error) {
	query, args, err := s.pool.BindNamed(selectProviders, f)
	if err != nil {
		return nil, fmt.Errorf("load providers: %w", err)
	}
	var list []*Provider
	if err := s.pool.SelectContext(ctx, &list, query, args...); err != nil {
		return nil, fmt.Errorf("load providers: %w", wrap(err))
	}
	return list, nil
}

// Providers loads the providers of refs, in their order; one that has been
// removed meanwhile is left out.
func (s *Store) Providers(ctx context.Context, refs []Ref) ([]*Provider, error) {
	if len(refs) == 0 {
		return nil, nil
	}
	var f providerFilter
	for _, r := range refs {
		f.Tenants, f.IDs = append(f.Tenants, r.Tenant), append(f.IDs, r.ID)
	}
	found, err := s.loadProviders(ctx, f)
	if err != nil {
		return nil, err
	}
	byRef := make(map[Ref]*Provider, len(found))
	for _, p := range found {
		byRef[Ref{p.Tenant, p.ID}] = p
	}
	list := make([]*Provider, 0, len(found))
	for _, r := range refs {
		if p := byRef[r]; p != nil {
			list = append(list, p)
		}
	}
	return list, nil
}

// Provider loads one provider.
func (s *Store) Provider(ctx context.Context, ref Ref) (*Provider, error) {
	list, err := s.Providers(ctx, []Ref{ref})
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("provider %s: %w", ref.ID, ErrNotFound)
	}
	return list[0], nil
}

// ListProviders lists the providers of a tenant, or of all when it is empty,
// by name.
func (s *Store) ListProviders(ctx context.Context, tenant string) ([]*Provider, error) {
	return s.loadProviders(ctx, providerFilter{Tenant: tenant})
}

// FindProvider finds a provider by id, or by name when that is unique in the
// tenant (in all tenants when it is empty). The error is ErrNotFound or
// ErrAmbiguous, naming what was asked for.
func (s *Store) FindProvider(ctx context.Context, nameOrID, tenant string) (*Provider, error) {
	f := providerFilter{Tenant: tenant, Name: nameOrID}
	if id, err := uuid.Parse(nameOrID); err == nil {
		f.Name, f.IDs = "", pq.StringArray{id.String()}
	}
	list, err := s.loadProviders(ctx, f)
	switch {
	case err != nil:
		return nil, err
	case len(list) == 0 || nameOrID == "":
		return nil, fmt.Errorf("provider %q: %w", nameOrID, ErrNotFound)
	case len(list) == 1:
		return list[0], nil
	}
	list = list[:min(len(list), 10)]
	ids := make([]string, len(list))
	for i, p := range list {
		ids[i] = p.ID
	}
	return nil, fmt.Errorf("provider %q: %w: use one of the ids %s", nameOrID, ErrAmbiguous, strings.Join(ids, ", "))
}
