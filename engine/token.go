package engine

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"

	"github.com/mayfly-run/mayfly/execution"
)

// tokenVersion is the first byte of a token, macSize the length of what proves it.
const (
	tokenVersion = 1
	macSize      = 16
)

// token is a task token: it names execution and attempt, and proves that we made it. It says nothing of partitions or
// processes, so it stays good wherever the execution goes.
func (e *Engine) token(arn string, task execution.TaskID) string {
	b := binary.AppendUvarint([]byte{tokenVersion}, uint64(task))
	b = append(b, arn...)
	return base64.RawURLEncoding.EncodeToString(append(b, e.mac(b)...))
}

func (e *Engine) readToken(token string) (arn string, task execution.TaskID, ok bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(b) < 2+macSize || b[0] != tokenVersion {
		return "", 0, false
	}
	body, mac := b[:len(b)-macSize], b[len(b)-macSize:]
	if !hmac.Equal(mac, e.mac(body)) {
		return "", 0, false
	}
	n, size := binary.Uvarint(body[1:])
	if size <= 0 {
		return "", 0, false
	}
	return string(body[1+size:]), execution.TaskID(n), true
}

func (e *Engine) mac(b []byte) []byte {
	h := hmac.New(sha256.New, e.key)
	h.Write(b)
	return h.Sum(nil)[:macSize]
}
