//! What may stand behind the colon of a convolutional network's name: `classes=10,image=96`.

/// The most outputs that a name may ask for.
const MAX_CLASSES: usize = 1 << 20;
/// The largest side of an image that a name may ask for; beyond it a slip is likelier than a network.
const MAX_SIDE: usize = 1 << 14;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// Outputs of the last layer.
    pub(super) classes: Option<usize>,
    /// Height and width of the image.
    pub(super) image: Option<usize>,
}

/// `None` for text that says none of them, or one twice.
pub(super) fn parse(text: &str) -> Option<Settings> {
    let mut settings = Settings::default();
    for setting in text.split(',') {
        let (key, value) = setting.split_once('=')?;
        let (place, most) = match key {
            "classes" => (&mut settings.classes, MAX_CLASSES),
            "image" => (&mut settings.image, MAX_SIDE),
            _ => return None,
        };
        let value = value.parse().ok().filter(|n| (1..=most).contains(n))?;
        if place.replace(value).is_some() {
            return None;
        }
    }
    Some(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_settings_are_taken() {
        assert_eq!(parse("classes=7"), Some(Settings { classes: Some(7), image: None }));
        assert_eq!(parse("image=96,classes=7"), Some(Settings { classes: Some(7), image: Some(96) }));
        for text in ["", "classes", "classes=", "classes=0", "classes=9999999", "classes=1,classes=2", "image=99999", "side=3"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
