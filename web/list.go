package web

import (
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"imapsync/db"
)

const pageSize = 24

// maxTenants is how many tenants are offered to choose from.
const maxTenants = 200

type listPage struct {
	chrome

	Cards   []card
	Filter  db.OverviewFilter
	States  []stateLink
	Tenants []string
	Total   int // that the filter takes
	All     int // whatever their state
	Page    int
	Pages   int
	Before  string // address of the page before, empty on the first
	After   string
}

type stateLink struct {
	State, Text, URL string
	N                int
	On               bool
}

func (s *server) list(w http.ResponseWriter, r *http.Request) {
	me, q := who(r), r.URL.Query()
	p := listPage{chrome: chrome{Title: "Inbound email", Who: me, Done: doneText(r)}}
	p.Filter = db.OverviewFilter{Tenant: me.Tenant, State: q.Get("state"), Text: strings.TrimSpace(q.Get("q")), Limit: pageSize}
	if me.Tenant == "" && q.Get("tenant") != "" {
		id, err := uuid.Parse(strings.TrimSpace(q.Get("tenant")))
		if err != nil {
			p.Alert = "The tenant is not a UUID: all are shown."
		} else {
			p.Filter.Tenant = id.String()
		}
	}
	if err := s.fillList(r, &p, q); err != nil {
		s.fail(w, r, err)
		return
	}
	s.render(w, r, http.StatusOK, "list.html", p)
}

func (s *server) fillList(r *http.Request, p *listPage, q url.Values) error {
	ctx, now := r.Context(), time.Now()
	counts, err := s.store.StateCounts(ctx, p.Filter)
	if err != nil {
		return err
	}
	for _, n := range counts {
		p.All += n
	}
	p.Total = p.All
	if p.Filter.State != "" {
		p.Total = counts[p.Filter.State]
	}
	p.Pages = max(1, (p.Total+pageSize-1)/pageSize)
	p.Page, _ = strconv.Atoi(q.Get("page")) // nonsense is the first page
	p.Page = min(max(1, p.Page), p.Pages)
	p.Filter.Offset = (p.Page - 1) * pageSize
	if p.Page > 1 {
		p.Before = p.link(p.Filter.State, p.Page-1)
	}
	if p.Page < p.Pages {
		p.After = p.link(p.Filter.State, p.Page+1)
	}
	p.States = []stateLink{{Text: "all", URL: p.link("", 1), N: p.All, On: p.Filter.State == ""}}
	for _, state := range []string{db.StateConnected, db.StateReconnecting, db.StateError, db.StatePaused, db.StateInactive, db.StateNew} {
		if n := counts[state]; n > 0 || p.Filter.State == state {
			p.States = append(p.States, stateLink{state, stateWord(state), p.link(state, 1), n, p.Filter.State == state})
		}
	}
	list, err := s.store.PageProviders(ctx, p.Filter, now)
	if err != nil {
		return err
	}
	for _, o := range list {
		p.Cards = append(p.Cards, newCard(o, now))
	}
	if p.Who.Tenant == "" {
		p.Tenants, err = s.store.Tenants(ctx, maxTenants)
	}
	return err
}

func (p *listPage) link(state string, page int) string {
	q := url.Values{"q": {p.Filter.Text}, "state": {state}}
	if p.Who.Tenant == "" {
		q.Set("tenant", p.Filter.Tenant)
	}
	if page > 1 {
		q.Set("page", strconv.Itoa(page))
	}
	maps.DeleteFunc(q, func(_ string, values []string) bool { return values[0] == "" })
	if len(q) == 0 {
		return "/"
	}
	return "/?" + q.Encode()
}
