//! Sees a desktop as a person at its live view does. In: the socket of its X server that speaks RFB. Out: pictures of the screen.
//!
//! Format: RFC 6143, and of it what a picture takes: no password, colours as they are, nothing compressed.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

/// Longest wait for a part of an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to a screen.
pub(super) struct View {
    stream: UnixStream,
    width: u16,
    height: u16,
}

/// A picture of a screen.
#[derive(Debug)]
pub struct Picture {
    width: u16,
    height: u16,
    /// From left to right and down, each pixel as red, green, blue.
    pixels: Vec<[u8; 3]>,
}

impl Picture {
    /// How much of it has exactly this colour: from 0 to 1.
    pub fn share_of(&self, colour: [u8; 3]) -> f64 {
        let of_it = self.pixels.iter().filter(|pixel| **pixel == colour).count();
        let count = |number: usize| u32::try_from(number).map_or(f64::NAN, f64::from);
        count(of_it) / count(self.pixels.len())
    }

    /// As a file that programs for pictures read (PPM).
    pub fn ppm(&self) -> Vec<u8> {
        let head = format!("P6\n{} {}\n255\n", self.width, self.height);
        head.into_bytes().into_iter().chain(self.pixels.iter().flatten().copied()).collect()
    }
}

impl View {
    /// Connects and agrees on how pictures are sent.
    pub(super) fn open(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket).with_context(|| format!("cannot connect to {}", socket.display()))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut view = Self { stream, width: 0, height: 0 };
        let version = view.bytes::<12>()?;
        ensure!(version.starts_with(b"RFB 003.0"), "the screen speaks no RFB: {version:?}");
        view.stream.write_all(b"RFB 003.008\n")?;
        let [ways] = view.bytes()?;
        let ways = view.many(ways.into())?;
        ensure!(ways.contains(&1), "the screen wants to know who asks: {ways:?}");
        view.stream.write_all(&[1])?;
        ensure!(view.bytes::<4>()? == [0; 4], "the screen refuses");
        // Others may look too.
        view.stream.write_all(&[1])?;
        let [w1, w2, h1, h2] = view.bytes()?;
        (view.width, view.height) = (u16::from_be_bytes([w1, w2]), u16::from_be_bytes([h1, h2]));
        view.bytes::<16>()?;
        let name = u32::from_be_bytes(view.bytes()?);
        view.many(name.try_into()?)?;
        // 32 bits, of them 8 each for blue, green and red, the lowest first.
        view.stream.write_all(&[0, 0, 0, 0, 32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0])?;
        // One way to send pictures: as they are.
        view.stream.write_all(&[2, 0, 0, 1, 0, 0, 0, 0])?;
        Ok(view)
    }

    /// What is on the screen now.
    pub(super) fn picture(&mut self) -> Result<Picture> {
        let ([w1, w2], [h1, h2]) = (self.width.to_be_bytes(), self.height.to_be_bytes());
        self.stream.write_all(&[3, 0, 0, 0, 0, 0, w1, w2, h1, h2])?;
        let width = usize::from(self.width);
        let mut pixels = vec![[0; 3]; width * usize::from(self.height)];
        while self.message()? != 0 {}
        let [_, c1, c2] = self.bytes()?;
        for _ in 0..u16::from_be_bytes([c1, c2]) {
            let [x1, x2, y1, y2, w1, w2, h1, h2, way @ ..] = self.bytes::<12>()?;
            ensure!(way == [0; 4], "the screen sends a picture in a way that was not agreed: {way:?}");
            let number = |high, low| usize::from(u16::from_be_bytes([high, low]));
            let (left, top, across, down) = (number(x1, x2), number(y1, y2), number(w1, w2), number(h1, h2));
            let part = self.many(across * down * 4)?;
            for (row, line) in part.chunks_exact((across * 4).max(1)).enumerate() {
                let start = (top + row) * width + left;
                let target = pixels.get_mut(start..start + across).context("the screen sends more than there is")?;
                for (pixel, bytes) in target.iter_mut().zip(line.chunks_exact(4)) {
                    if let [blue, green, red, _] = bytes {
                        *pixel = [*red, *green, *blue];
                    }
                }
            }
        }
        Ok(Picture { width: self.width, height: self.height, pixels })
    }

    /// The kind of the next message; what is not about the picture is read to its end.
    fn message(&mut self) -> Result<u8> {
        let [kind] = self.bytes()?;
        match kind {
            0 | 2 => {}
            3 => {
                let [_, _, _, length @ ..] = self.bytes::<7>()?;
                self.many(u32::from_be_bytes(length).try_into()?)?;
            }
            other => bail!("the screen sends a message that is not known: {other}"),
        }
        Ok(kind)
    }

    fn bytes<const COUNT: usize>(&mut self) -> Result<[u8; COUNT]> {
        let mut bytes = [0; COUNT];
        self.stream.read_exact(&mut bytes).context("the screen says nothing more")?;
        Ok(bytes)
    }

    fn many(&mut self, count: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).context("the screen says nothing more")?;
        Ok(bytes)
    }
}
