"""The generated pages of docs/ and their pictures, made by asking the loaded operators."""
