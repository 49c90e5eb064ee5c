"""What learning to segment needs beside a network: annotated images, target maps, augmentation, a score."""
