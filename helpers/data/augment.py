"""Random crop and flip, a different one for each image, on whole batches of uint8 tensors on the device."""
import torch
import torch.nn.functional as F


class Augment:
    """Batches of a data set, augmented as in Sec. 5.1: padded by 4 pixels, cropped at random, mirrored or not.

    `images` are uint8 (N, C, H, W), kept on their device, or floats (N, d), which are never augmented. `padding` is in
    pixels of black on each side, 0 switches cropping off; `flip` mirrors each image with probability 1/2.
    """

    def __init__(self, images, padding=4, flip=True):
        self.points = images.ndim == 2
        self.padding, self.flip = (0, False) if self.points else (padding, flip)
        if self.points:
            self.store = images
        else:  # channels last: a row of pixels is one piece of memory, which makes the crop cheap
            self.size = images.shape[2:]
            self.store = F.pad(images, [self.padding] * 4).permute(0, 2, 3, 1).contiguous()

    def epoch(self, parts, generator):
        """Yield (images, indices) for each of `parts`, a list of LongTensors on the CPU, with indices on the device.

        The random numbers of all batches are drawn first and copied once: a copy in every step would make a GPU wait.
        The generator lives on the CPU, so that a seed gives the same crops on every device.
        """
        device, counts = self.store.device, [len(part) for part in parts]
        columns = [column if column[0] is None else torch.cat(column, dim=-1).to(device).split(counts, dim=-1)
                   for column in (parts, *zip(*(self._draw(count, generator) for count in counts)))]
        for picked, corner, mirror in zip(*columns):
            yield self._batch(picked, corner, mirror), picked

    def _draw(self, count, generator):
        """Corners of the crops (2, count) and which images to mirror (count,), or None for what is not done."""
        if not (self.padding or self.flip):
            return None, None
        corner = torch.randint(2 * self.padding + 1, (2, count), generator=generator)
        return corner, torch.rand(count, generator=generator, dtype=torch.float32) < 0.5 if self.flip else None

    def _batch(self, indices, corner, mirror):
        if corner is None:
            batch = self.store[indices]
            return batch if self.points else batch.permute(0, 3, 1, 2)
        height, width = self.size
        # A window is `height` rows of `width * channels` bytes that lie together: indexing views of whole rows
        # was measured 8 times as fast on a CPU as indexing pixels.
        channels = self.store.shape[3]
        windows = self.store.flatten(2).unfold(1, height, 1).unfold(2, width * channels, channels)
        batch = windows[indices, corner[0], corner[1]].unflatten(2, (width, channels))
        if mirror is not None:
            batch = torch.where(mirror[:, None, None, None], batch.flip(2), batch)
        return batch.permute(0, 3, 1, 2)
