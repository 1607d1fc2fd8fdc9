package lambda

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"time"
)

// Prefix is the path below which Handler gives out code.
const Prefix = "/_mayfly/lambda/"

// AWS: GetFunction's link to the code is good for ten minutes.
const linkLife = 10 * time.Minute

// linker signs the links to code. Its key ends with the server: a link outlives it by minutes only.
type linker [32]byte

func newLinker() (l linker) {
	_, _ = rand.Read(l[:]) // never fails
	return l
}

func (l linker) signature(sha, expires string) string {
	h := hmac.New(sha256.New, l[:])
	h.Write([]byte(sha + "\n" + expires))
	return hex.EncodeToString(h.Sum(nil))
}

// location is a link to a function's zip.
func (s *Service) location(f *function) string {
	expires := strconv.FormatInt(s.Clock.Now().Add(linkLife).Unix(), 10)
	return s.Endpoint() + Prefix + f.Code.SHA256 + ".zip?" + url.Values{"Expires": {expires}, "Signature": {s.links.signature(f.Code.SHA256, expires)}}.Encode()
}

var zipName = regexp.MustCompile(`^([0-9a-f]{64})\.zip$`)

// Handler gives out the zips that GetFunction links to: GET Prefix + SHA-256 + ".zip".
func (s *Service) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Prefix+"{zip}", func(w http.ResponseWriter, r *http.Request) {
		name := zipName.FindStringSubmatch(r.PathValue("zip"))
		if name == nil {
			http.NotFound(w, r)
			return
		}
		expires := r.FormValue("Expires")
		until, err := strconv.ParseInt(expires, 10, 64)
		if !hmac.Equal([]byte(s.links.signature(name[1], expires)), []byte(r.FormValue("Signature"))) || err != nil || s.Clock.Now().Unix() > until {
			http.Error(w, "The link is not valid, or not any more: ask GetFunction for another.", http.StatusForbidden)
			return
		}
		b, err := os.Open(s.zipFile(name[1]))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		defer b.Close()
		w.Header().Set("Content-Type", "application/zip")
		http.ServeContent(w, r, "", time.Time{}, b)
	})
	return mux
}
