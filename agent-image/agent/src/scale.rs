//! From the pixels of a picture to those of the screen, and how large a picture becomes. In: points and sizes. Out: the same in pixels.

use agent_protocol::{Code, Point, Region, Scale, Size};

use crate::fault::{Done, Fault};

/// A width and a height, or a column and a row.
pub type Pair = (u32, u32);

/// The numbers of a size.
pub fn pair(size: Size) -> Pair {
    (number(size.width.get()), number(size.height.get()))
}

fn number(bounded: i64) -> u32 {
    u32::try_from(bounded).unwrap_or_default()
}

/// Where a point is on the screen: the pixel that the middle of the picture's pixel shows.
///
/// # Errors
/// If it is not on the picture that it was seen in.
pub fn on_screen(point: Point, screen: Pair) -> Done<Pair> {
    let of = point.of.map_or(screen, pair);
    let (x, y) = (number(point.x.get()), number(point.y.get()));
    if x >= of.0 || y >= of.1 {
        let message = format!("the point {x},{y} is not in {} x {}: columns and rows begin at 0", of.0, of.1);
        return Err(Fault::new(Code::OffScreen, message));
    }
    Ok((middle(x, of.0, screen.0), middle(y, of.1, screen.1)))
}

fn middle(at: u32, of: u32, screen: u32) -> u32 {
    let at = (u64::from(at) * 2 + 1) * u64::from(screen) / (u64::from(of.max(1)) * 2);
    u32::try_from(at).unwrap_or_default().min(screen.saturating_sub(1))
}

/// Left, top, width and height of a region, or of the whole screen.
///
/// # Errors
/// If a part of it is not on the screen.
pub fn region(region: Option<Region>, screen: Pair) -> Done<[u32; 4]> {
    let Some(region) = region else { return Ok([0, 0, screen.0, screen.1]) };
    let numbers = [region.x.get(), region.y.get(), region.width.get(), region.height.get()].map(number);
    let [x, y, width, height] = numbers;
    if x + width > screen.0 || y + height > screen.1 {
        let message =
            format!("the region reaches to {},{} and the screen to {},{}", x + width, y + height, screen.0, screen.1);
        return Err(Fault::new(Code::OffScreen, message));
    }
    Ok(numbers)
}

/// How large a picture of this size becomes.
pub fn target(size: Pair, scale: Option<Scale>) -> Pair {
    // As a fraction, so that nothing depends on how a processor rounds.
    let (above, below) = match scale {
        None => (1, 1),
        Some(Scale::Percent(percent)) => (number(percent.get()).min(100), 100),
        Some(Scale::Within(within)) => {
            let (width, height) = pair(within);
            let narrower = u64::from(width) * u64::from(size.1) < u64::from(height) * u64::from(size.0);
            let (above, below) = if narrower { (width, size.0) } else { (height, size.1) };
            if above < below { (above, below) } else { (1, 1) }
        }
    };
    let scaled = |pixels: u32| {
        let rounded = (u64::from(pixels) * u64::from(above) * 2 + u64::from(below)) / (u64::from(below.max(1)) * 2);
        u32::try_from(rounded).unwrap_or(pixels).clamp(1, pixels.max(1))
    };
    (scaled(size.0), scaled(size.1))
}

#[cfg(test)]
mod tests {
    use agent_protocol::{Coordinate, Extent, Whole};

    use super::*;

    fn size(width: i64, height: i64) -> Size {
        Size { width: Extent::nearest(width), height: Extent::nearest(height) }
    }

    fn point(x: i64, y: i64, of: Option<Size>) -> Point {
        Point { x: Coordinate::nearest(x), y: Coordinate::nearest(y), of }
    }

    #[test]
    fn a_point_of_a_smaller_picture_is_the_middle_of_what_its_pixel_shows() {
        let half = Some(size(640, 400));
        assert_eq!(on_screen(point(0, 0, half), (1280, 800)).unwrap(), (1, 1));
        assert_eq!(on_screen(point(639, 399, half), (1280, 800)).unwrap(), (1279, 799));
        assert_eq!(on_screen(point(320, 200, half), (1280, 800)).unwrap(), (641, 401));
        assert_eq!(on_screen(point(7, 8, None), (1280, 800)).unwrap(), (7, 8));
        assert_eq!(on_screen(point(2, 2, Some(size(2560, 1600))), (1280, 800)).unwrap(), (1, 1));
    }

    #[test]
    fn every_point_of_the_screen_comes_back_from_a_picture_as_large() {
        for x in 0..1280 {
            assert_eq!(
                on_screen(point(x, 0, Some(size(1280, 800))), (1280, 800)).unwrap().0,
                u32::try_from(x).unwrap()
            );
        }
    }

    #[test]
    fn a_point_beyond_the_edge_is_refused() {
        for beyond in [point(1280, 0, None), point(0, 800, None), point(640, 0, Some(size(640, 400)))] {
            let fault = on_screen(beyond, (1280, 800)).unwrap_err();
            assert_eq!(fault.code, Code::OffScreen, "{beyond:?}");
        }
    }

    #[test]
    fn a_region_that_reaches_beyond_the_screen_is_refused() {
        let part = |x, width| Region {
            x: Coordinate::nearest(x),
            y: Whole::of::<0>(),
            width: Extent::nearest(width),
            height: Whole::of::<800>(),
        };
        assert_eq!(region(Some(part(1279, 1)), (1280, 800)).unwrap(), [1279, 0, 1, 800]);
        assert_eq!(region(Some(part(1279, 2)), (1280, 800)).unwrap_err().code, Code::OffScreen);
        assert_eq!(region(None, (1280, 800)).unwrap(), [0, 0, 1280, 800]);
    }

    #[test]
    fn a_picture_keeps_its_shape_and_never_grows() {
        let within = |width, height| target((1280, 800), Some(Scale::Within(size(width, height))));
        assert_eq!(within(1024, 768), (1024, 640));
        assert_eq!(within(2000, 400), (640, 400));
        assert_eq!(within(4000, 4000), (1280, 800));
        assert_eq!(within(1, 1), (1, 1));
        assert_eq!(target((1280, 800), Some(Scale::Percent(Whole::of::<50>()))), (640, 400));
        assert_eq!(target((3, 3), Some(Scale::Percent(Whole::of::<1>()))), (1, 1));
        assert_eq!(target((1280, 800), None), (1280, 800));
    }
}
