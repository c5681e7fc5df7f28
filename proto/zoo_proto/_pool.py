"""The private descriptor pool of our stubs (the reason is in proto/generate.py).

protobuf's own types that our files import must be in the same pool, so it holds copies of them.
"""

from google.protobuf import any_pb2, wrappers_pb2
from google.protobuf.descriptor_pool import DescriptorPool

POOL = DescriptorPool()
for _module in (any_pb2, wrappers_pb2):
    POOL.AddSerializedFile(_module.DESCRIPTOR.serialized_pb)
