"""The private descriptor pool of our stubs (the reason is in proto/generate.py)."""

from google.protobuf.descriptor_pool import DescriptorPool

POOL = DescriptorPool()
