//! Pictures. In: pixels as the X server has them. Out: parts of them, smaller ones, and files.

use std::io::Write as _;

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};

use crate::scale::Pair;

/// A picture, from left to right and down, each pixel as red, green, blue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Width and height.
    pub size: Pair,
    pixels: Vec<[u8; 3]>,
}

impl Picture {
    /// Of pixels with four bytes each, blue first and the last one unused. Nothing if there are too few or too many.
    pub fn of_bgrx(size: Pair, bytes: &[u8]) -> Option<Self> {
        let (pixels, rest) = bytes.as_chunks::<4>();
        let pixels: Vec<_> = pixels.iter().map(|[blue, green, red, _]| [*red, *green, *blue]).collect();
        (rest.is_empty() && pixels.len() == count(size)).then_some(Self { size, pixels })
    }

    /// The pixels.
    pub fn pixels(&self) -> &[[u8; 3]] {
        &self.pixels
    }

    /// The same, smaller: each pixel is the mean of those that it stands for.
    #[must_use]
    pub fn shrink(self, to: Pair) -> Self {
        if to == self.size || to.0 == 0 || to.1 == 0 {
            return self;
        }
        let rows = (0..to.1).map(|row| span(row, self.size.1, to.1));
        let pixels = rows.flat_map(|rows| {
            let picture = &self;
            (0..to.0).map(move |column| picture.mean(span(column, picture.size.0, to.0), rows))
        });
        Self { size: to, pixels: pixels.collect() }
    }

    fn mean(&self, columns: (usize, usize), rows: (usize, usize)) -> [u8; 3] {
        let width = self.size.0 as usize;
        let lines =
            (rows.0..rows.1).filter_map(|row| self.pixels.get(row * width + columns.0..row * width + columns.1));
        let mut sums = [0_u64; 3];
        let mut counted = 0;
        for pixel in lines.flatten() {
            counted += 1;
            for (sum, colour) in sums.iter_mut().zip(pixel) {
                *sum += u64::from(*colour);
            }
        }
        sums.map(|sum| u8::try_from((sum + counted / 2) / counted.max(1)).unwrap_or(u8::MAX))
    }

    /// As a PNG file.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn png(&self) -> std::io::Result<Vec<u8>> {
        let mut lines = ZlibEncoder::new(Vec::new(), Compression::fast());
        for line in self.pixels.chunks(self.size.0.max(1) as usize) {
            // As it is: screens are flat, and what would help photographs does not help them.
            lines.write_all(&[0])?;
            lines.write_all(line.as_flattened())?;
        }
        let (width, height) = (self.size.0.to_be_bytes(), self.size.1.to_be_bytes());
        // 8 bits of each colour, three colours, and nothing out of the ordinary.
        let head = [&width[..], &height, &[8, 2, 0, 0, 0]].concat();
        let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
        for (kind, content) in [(b"IHDR", head), (b"IDAT", lines.finish()?), (b"IEND", vec![])] {
            let length = u32::try_from(content.len()).map_err(std::io::Error::other)?;
            let mut sum = Crc::new();
            sum.update(kind);
            sum.update(&content);
            file.extend(length.to_be_bytes());
            file.extend(kind);
            file.extend(content);
            file.extend(sum.sum().to_be_bytes());
        }
        Ok(file)
    }

    /// As a file that programs for pictures read without a library (PPM).
    pub fn ppm(&self) -> Vec<u8> {
        let head = format!("P6\n{} {}\n255\n", self.size.0, self.size.1);
        head.bytes().chain(self.pixels.as_flattened().iter().copied()).collect()
    }
}

fn count(size: Pair) -> usize {
    size.0 as usize * size.1 as usize
}

/// From which to which of so many a pixel stands for, if they become so many; at least one.
fn span(at: u32, many: u32, few: u32) -> (usize, usize) {
    let edge = |at: u32| usize::try_from(u64::from(at) * u64::from(many) / u64::from(few.max(1))).unwrap_or_default();
    (edge(at), edge(at + 1).max(edge(at) + 1))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn of(size: Pair, pixels: &[[u8; 3]]) -> Picture {
        Picture { size, pixels: pixels.to_vec() }
    }

    const BLACK: [u8; 3] = [0; 3];
    const WHITE: [u8; 3] = [255; 3];

    #[test]
    fn pixels_of_the_x_server_have_their_colours_the_other_way_round() {
        let picture = Picture::of_bgrx((2, 1), &[1, 2, 3, 0, 4, 5, 6, 255]).unwrap();
        assert_eq!(picture.pixels(), [[3, 2, 1], [6, 5, 4]]);
        assert_eq!(Picture::of_bgrx((2, 1), &[0; 7]), None);
        assert_eq!(Picture::of_bgrx((2, 1), &[0; 12]), None);
    }

    #[test]
    fn a_smaller_picture_has_the_mean_of_what_it_stands_for() {
        let picture = of((4, 2), &[BLACK, WHITE, WHITE, WHITE, WHITE, BLACK, WHITE, WHITE]);
        assert_eq!(picture.clone().shrink((2, 1)), of((2, 1), &[[128; 3], WHITE]));
        assert_eq!(picture.clone().shrink((4, 2)), picture);
        let odd = of((3, 1), &[BLACK, WHITE, WHITE]);
        assert_eq!(odd.shrink((2, 1)), of((2, 1), &[BLACK, WHITE]));
    }

    #[test]
    fn a_png_has_its_parts_with_checksums_and_the_pixels_unpack() {
        let picture = of((2, 2), &[[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12]]);
        let file = picture.png().unwrap();
        let (start, mut rest) = file.split_at(8);
        assert_eq!(start, b"\x89PNG\r\n\x1a\n");
        let mut parts = vec![];
        while !rest.is_empty() {
            let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
            let mut sum = Crc::new();
            sum.update(&rest[4..8 + length]);
            assert_eq!(rest[8 + length..12 + length], sum.sum().to_be_bytes());
            parts.push((rest[4..8].to_vec(), rest[8..8 + length].to_vec()));
            rest = &rest[12 + length..];
        }
        assert_eq!(parts.iter().map(|(kind, _)| kind.as_slice()).collect::<Vec<_>>(), [b"IHDR", b"IDAT", b"IEND"]);
        assert_eq!(parts[0].1, [0, 0, 0, 2, 0, 0, 0, 2, 8, 2, 0, 0, 0]);
        let mut lines = vec![];
        flate2::read::ZlibDecoder::new(parts[1].1.as_slice()).read_to_end(&mut lines).unwrap();
        assert_eq!(lines, [0, 1, 2, 3, 4, 5, 6, 0, 7, 8, 9, 10, 11, 12]);
    }
}
