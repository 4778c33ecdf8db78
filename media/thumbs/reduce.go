package thumbs

import (
	"image"
	"image/draw"
)

// reduce makes a picture smaller by a whole number: a pixel is the mean of a
// square. A photo stays in the colours that JPEG has, and what does not fill a
// square at the edges is left out.
func reduce(img image.Image, factor int) image.Image {
	b := img.Bounds()
	w, h := b.Dx()/factor, b.Dy()/factor
	if photo, ok := img.(*image.YCbCr); ok && b.Min == (image.Point{}) {
		switch photo.SubsampleRatio {
		case image.YCbCrSubsampleRatio444, image.YCbCrSubsampleRatio422, image.YCbCrSubsampleRatio420, image.YCbCrSubsampleRatio440:
			return reducePhoto(photo, w, h, factor)
		}
	}
	return reduceRows(img, w, h, factor)
}

func reducePhoto(img *image.YCbCr, w, h, factor int) image.Image {
	out := image.NewYCbCr(image.Rect(0, 0, w, h), img.SubsampleRatio)
	reducePlane(plane{out.Y, out.YStride, w, h}, plane{img.Y, img.YStride, img.Rect.Dx(), img.Rect.Dy()}, factor)
	from := chroma(img.SubsampleRatio, img.Rect.Dx(), img.Rect.Dy())
	to := chroma(img.SubsampleRatio, w, h)
	reducePlane(plane{out.Cb, out.CStride, to.X, to.Y}, plane{img.Cb, img.CStride, from.X, from.Y}, factor)
	reducePlane(plane{out.Cr, out.CStride, to.X, to.Y}, plane{img.Cr, img.CStride, from.X, from.Y}, factor)
	return out
}

// chroma returns the size of the planes of colour.
func chroma(ratio image.YCbCrSubsampleRatio, w, h int) image.Point {
	if ratio == image.YCbCrSubsampleRatio422 || ratio == image.YCbCrSubsampleRatio420 {
		w = (w + 1) / 2
	}
	if ratio == image.YCbCrSubsampleRatio440 || ratio == image.YCbCrSubsampleRatio420 {
		h = (h + 1) / 2
	}
	return image.Pt(w, h)
}

// plane is one component of a picture.
type plane struct {
	pix           []byte
	stride        int
	width, height int
}

func reducePlane(to, from plane, factor int) {
	sums := make([]uint32, to.width)
	for y := range to.height {
		clear(sums)
		rows := 0
		for row := y * factor; row < min((y+1)*factor, from.height); row++ {
			rows++
			addRow(sums, from.pix[row*from.stride:row*from.stride+from.width], factor)
		}
		out := to.pix[y*to.stride : y*to.stride+to.width]
		for x := range out {
			columns := min((x+1)*factor, from.width) - x*factor
			if n := uint32(rows * columns); rows > 0 && columns > 0 {
				out[x] = byte((sums[x] + n/2) / n)
			}
		}
	}
}

func addRow(sums []uint32, row []byte, factor int) {
	for x := range sums {
		from, to := x*factor, min((x+1)*factor, len(row))
		if from >= to {
			return
		}
		var sum uint32
		for _, v := range row[from:to] {
			sum += uint32(v)
		}
		sums[x] += sum
	}
}

// reduceRows goes row by row through what any picture looks like, so that only
// one row of it is there twice.
func reduceRows(img image.Image, w, h, factor int) image.Image {
	b := img.Bounds()
	out := image.NewRGBA(image.Rect(0, 0, w, h))
	row := image.NewRGBA(image.Rect(0, 0, w*factor, 1))
	sums := make([]uint32, 4*w)
	n := uint32(factor * factor)
	for y := range h {
		clear(sums)
		for i := range factor {
			draw.Draw(row, row.Rect, img, image.Pt(b.Min.X, b.Min.Y+y*factor+i), draw.Src)
			for x := range w {
				sum := sums[4*x : 4*x+4 : 4*x+4]
				for p := row.Pix[4*x*factor : 4*(x+1)*factor]; len(p) >= 4; p = p[4:] {
					sum[0] += uint32(p[0])
					sum[1] += uint32(p[1])
					sum[2] += uint32(p[2])
					sum[3] += uint32(p[3])
				}
			}
		}
		pix := out.Pix[y*out.Stride:]
		for i, sum := range sums {
			pix[i] = byte((sum + n/2) / n)
		}
	}
	return out
}

// orient turns a picture as the camera was held.
func orient(img image.Image, orientation int) image.Image {
	if orientation <= 1 || orientation > 8 {
		return img
	}
	b := img.Bounds()
	w, h := b.Dx(), b.Dy()
	size := image.Pt(w, h)
	if orientation >= 5 {
		size = image.Pt(h, w)
	}
	src := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.Draw(src, src.Rect, img, b.Min, draw.Src)
	out := image.NewRGBA(image.Rectangle{Max: size})
	for y := range h {
		for x := range w {
			to := turned(orientation, x, y, w, h)
			copy(out.Pix[out.PixOffset(to.X, to.Y):][:4], src.Pix[src.PixOffset(x, y):][:4])
		}
	}
	return out
}

// turned returns where a pixel comes to lie.
func turned(orientation, x, y, w, h int) image.Point {
	switch orientation {
	case 2:
		return image.Pt(w-1-x, y)
	case 3:
		return image.Pt(w-1-x, h-1-y)
	case 4:
		return image.Pt(x, h-1-y)
	case 5:
		return image.Pt(y, x)
	case 6:
		return image.Pt(h-1-y, x)
	case 7:
		return image.Pt(h-1-y, w-1-x)
	}
	return image.Pt(y, w-1-x)
}
