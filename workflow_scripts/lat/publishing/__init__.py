"""Publishing a trained model: its folder, its model card, and the upload to the Hugging Face Hub."""
