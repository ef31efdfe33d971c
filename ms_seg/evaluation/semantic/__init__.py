"""aAcc, mIoU and mAcc of label maps."""
