use super::*;

#[test]
fn a_chord_is_its_keys_in_order() {
    assert_eq!(chord("ctrl+shift+t").unwrap(), [CTRL, SHIFT, u32::from('t')]);
    assert_eq!(chord("Return").unwrap(), [0xff0d]);
    assert_eq!(chord("alt+F4").unwrap(), [ALT, 0xffc1]);
    assert_eq!(chord("F24").unwrap(), [0xffd5]);
    assert_eq!(chord("Page_Down").unwrap(), chord("next").unwrap());
    assert_eq!(chord("super").unwrap(), [SUPER]);
}

#[test]
fn capitals_matter_for_characters_and_not_for_names() {
    assert_eq!(chord("A").unwrap(), [0x41]);
    assert_eq!(chord("a").unwrap(), [0x61]);
    assert_eq!(chord("RETURN").unwrap(), chord("return").unwrap());
}

#[test]
fn the_plus_sign_is_a_key_too() {
    assert_eq!(chord("+").unwrap(), [0x2b]);
    assert_eq!(chord("ctrl++").unwrap(), [CTRL, 0x2b]);
    assert_eq!(chord("ctrl+plus").unwrap(), [CTRL, 0x2b]);
}

#[test]
fn what_is_no_chord_is_refused_with_its_name() {
    for text in
        ["", "ctrl+", "+a", "ctrl+hyperdrive", "F25", "F0", "a+b+c+d+e+f", "ctrl+Control_L", "U12", "UD800", "\u{7}"]
    {
        let fault = chord(text).unwrap_err();
        assert_eq!(fault.code, Code::NoSuchKey, "{text:?}");
    }
    assert!(chord("ctrl+hyperdrive").unwrap_err().message.contains("\"hyperdrive\""));
}

#[test]
fn characters_have_the_numbers_of_the_x_server() {
    assert_eq!(of_character('a'), Some(0x61));
    assert_eq!(of_character('ü'), Some(0xfc));
    assert_eq!(of_character('ß'), Some(0xdf));
    assert_eq!(of_character('€'), Some(0x0100_20ac));
    assert_eq!(of_character('東'), Some(0x0100_6771));
    assert_eq!(of_character('😀'), Some(0x0101_f600));
    assert_eq!(of_character('\n'), Some(0xff0d));
    assert_eq!(of_character('\u{1b}'), None);
    assert_eq!(chord("U20AC").unwrap(), [0x0100_20ac]);
}
