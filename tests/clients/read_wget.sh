wget --quiet --output-document=- "$1"
