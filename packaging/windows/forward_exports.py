"""Writes the module definition of a DLL whose every export stands for the same one of another:

python forward_exports.py python311.dll > python3.def
"""

import sys
from pathlib import Path

import pefile

_EXECUTABLE = 0x20000000  # IMAGE_SCN_MEM_EXECUTE

library = Path(sys.argv[1])
pe = pefile.PE(str(library), fast_load=True)
pe.parse_data_directories(directories=[pefile.DIRECTORY_ENTRY["IMAGE_DIRECTORY_ENTRY_EXPORT"]])
code = [
    range(section.VirtualAddress, section.VirtualAddress + section.Misc_VirtualSize)
    for section in pe.sections
    if section.Characteristics & _EXECUTABLE
]
print("LIBRARY python3.dll\nEXPORTS")
for export in pe.DIRECTORY_ENTRY_EXPORT.symbols:
    if export.name:
        name = export.name.decode()
        kind = "" if any(export.address in section for section in code) else " DATA"
        print(f"  {name} = {library.stem}.{name}{kind}")
