package sync

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"imapsync/db"
)

// halfKey is the length of the two halves of an account's key.
const halfKey = 16

// AccountKey names the account that the settings of a provider lead to: the server in
// its first half, who logs in there in its second. UIDs and UIDVALIDITY are an
// account's own and say nothing across two of them, so a cursor keeps whose it is.
// How the connection is secured does not count.
func AccountKey(p *db.Provider) string {
	server := strings.ToLower(strings.TrimRight(p.Host, ".")) + "|" + strconv.Itoa(p.Port)
	return halfHash(server) + halfHash(username(p))
}

func halfHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])[:halfKey]
}

// SameAccount reports whether two providers read one account, the case of the user name
// aside.
func SameAccount(a, b *db.Provider) bool {
	return AccountKey(a)[:halfKey] == AccountKey(b)[:halfKey] && strings.EqualFold(username(a), username(b))
}

// ofAccount reports whether a cursor is of the provider's present account.
func (ps *pass) ofAccount(st *db.FolderState) bool {
	return st == nil || st.Account == "" || st.Account == AccountKey(ps.provider)
}

// sameUser reports whether two accounts have the same user name: then it is a server
// that moved, and its mail is what was read before.
func sameUser(a, b string) bool { return a[min(halfKey, len(a)):] == b[min(halfKey, len(b)):] }
