"""What an algorithm may do to numbers (base.py), and who does it: NumPy, LLVM, PTX, derivatives forward."""
