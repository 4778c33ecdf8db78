package media

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"beffroi/matrix"
)

// received is a file under way: on the disk, and nobody's yet.
type received struct {
	file *os.File
	size int64
	hash string
}

// remove ends a file under way. The store has linked or copied what it keeps.
func (r *received) remove() {
	_ = r.file.Close()
	_ = os.Remove(r.file.Name())
}

// copyBuffer is how much of a file is in memory.
const copyBuffer = 128 << 10

// receive streams a body to the disk and hashes it on the way. size is what
// was promised, or -1.
func (s *Server) receive(body io.Reader, size, limit int64) (_ *received, err error) {
	if size > limit {
		return nil, tooLong(limit)
	}
	file, err := os.CreateTemp(s.Folder, tempPrefix)
	if err != nil {
		return nil, storeError("make file", err)
	}
	got := &received{file: file}
	defer func() {
		if err != nil {
			got.remove()
		}
	}()
	from, sum := &faultyReader{r: io.LimitReader(body, limit+1)}, sha256.New()
	got.size, err = io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(file, sum)}, from, make([]byte, copyBuffer))
	switch {
	case from.err != nil:
		return nil, cutOff(from.err)
	case err != nil:
		return nil, storeError("write file", err)
	case got.size > limit:
		return nil, tooLong(limit)
	case size >= 0 && got.size != size:
		return nil, matrix.InvalidParam("The file has %d bytes, and %d were announced: send it again", got.size, size)
	}
	got.hash = hex.EncodeToString(sum.Sum(nil))
	return got, nil
}

// tempPrefix is how the names of files under way begin.
const tempPrefix = "upload-"

// sweepFolder removes files under way that a crash has left behind.
func (s *Server) sweepFolder() error {
	left, err := filepath.Glob(filepath.Join(s.Folder, tempPrefix+"*"))
	if err != nil {
		return fmt.Errorf("list files under way: %w", err)
	}
	for _, path := range left {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// faultyReader remembers that reading failed, to tell it from writing.
type faultyReader struct {
	r   io.Reader
	err error
}

func (f *faultyReader) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err != nil && err != io.EOF {
		f.err = err
	}
	return n, err
}

// cutOff is what a body that ends early means, unless its reader has said.
func cutOff(err error) error {
	if _, told := errors.AsType[*matrix.Error](err); told {
		return err
	}
	return matrix.NewError(http.StatusBadRequest, "M_UNKNOWN", "The file ended before its time, or came too slowly: send it again")
}

func tooLong(limit int64) error {
	return matrix.TooLarge("The file is longer than %d bytes, which is the most that this server takes", limit)
}
