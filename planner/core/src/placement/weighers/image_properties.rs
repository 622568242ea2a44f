//! As Nova's ImagePropertiesWeigher: how many servers there have an image with the same properties.

use super::Ask;

pub(super) fn raw(ask: &Ask<'_>) -> f64 {
    let ratios = &ask.fixed.config.image_property_ratios;
    let mut value = 0.0;
    for (property, set) in &ask.request.needs.image.0 {
        let servers = ask.sides.images_with(ask.index, property, set);
        if servers == 0 {
            continue;
        }
        let ratio = if ratios.is_empty() {
            1.0
        } else {
            ratios.get(property).copied().unwrap_or(0.0)
        };
        value += ratio * servers as f64;
    }
    value
}
