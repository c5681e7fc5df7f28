"""Image augmentation layers: at inference most do nothing, and a few are deterministic."""

from zoo.atlas.case import layer

#: Layer -> its arguments.
LAYERS: dict[str, dict[str, object]] = {
    "AugMix": {},
    "AutoContrast": {},
    "ContrastLimitedAdaptiveHistogramEqualization": {},
    "CutMix": {},
    "MaxNumBoundingBoxes": {"max_number": 4},
    "MixUp": {},
    "RandAugment": {},
    "RandomBrightness": {"factor": 0.2},
    "RandomColorDegeneration": {"factor": 0.5},
    "RandomColorJitter": {"brightness_factor": 0.2},
    "RandomContrast": {"factor": 0.2},
    "RandomCrop": {"height": 5, "width": 5},
    "RandomElasticTransform": {},
    "RandomErasing": {},
    "RandomFlip": {},
    "RandomGaussianBlur": {},
    "RandomGrayscale": {},
    "RandomHue": {"factor": 0.2},
    "RandomInvert": {},
    "RandomPerspective": {},
    "RandomPosterization": {"factor": 4},
    "RandomRotation": {"factor": 0.2},
    "RandomSaturation": {"factor": 0.5},
    "RandomSharpness": {"factor": 0.5},
    "RandomShear": {"x_factor": 0.2},
    "RandomTranslation": {"height_factor": 0.2, "width_factor": 0.2},
    "RandomZoom": {"height_factor": 0.2},
    "Solarization": {},
}


CASES = tuple(
    layer(name, (8, 8, 3), **options).but(values="pixels") for name, options in LAYERS.items()
)
