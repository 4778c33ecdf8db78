package scenario

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"beffroi/cmd/matrixload/internal/pace"
)

// mediaBytes is the length of a file: that of a photo as phones send it.
const mediaBytes = 1 << 20

// buildMedia makes accounts that send files, which all differ, and fetch each
// file that they have sent.
func buildMedia(ctx context.Context, w *world) (action, error) {
	if err := w.people(ctx); err != nil {
		return nil, err
	}
	noise := make([]byte, mediaBytes)
	random := rand.New(rand.NewPCG(w.Seed, 0))
	for i := 0; i < len(noise); i += 8 {
		binary.LittleEndian.PutUint64(noise[i:], random.Uint64())
	}
	return func(ctx context.Context, slot pace.Slot) {
		file := append([]byte(fmt.Sprintf("%s-%016d", w.run, slot.N)), noise...)
		u := w.users[slot.N%int64(len(w.users))]
		uri, err := u.Upload(ctx, file)
		w.recorder.Done(opUpload, slot.Due, len(file), err)
		if err != nil {
			return
		}
		start := time.Now()
		n, err := u.Download(ctx, uri)
		if err == nil && n != len(file) {
			err = fmt.Errorf("a file of %d bytes came back with %d", len(file), n)
		}
		w.recorder.Done(opDownload, start, n, err)
	}, nil
}
