"""Which published ViTs load, and as what: each is built, perturbed, saved as its library saves, and read.

``python -m tests.coverage_table`` prints the table. ``timm_tags.tsv`` lists the pretrained weights of timm
1.0.31 in its six modules of plain ViTs and their kin; ``hugging_face_variants.tsv`` classes of transformers,
how they are built small, and, by what is known of them, why each is another function than ours, or nothing.
"""
